package org.fishermerge.cli;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.cli.task.StyledWriter;
import org.fishermerge.cli.task.Terminal;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/** The {@code fisher-merge} command. Exit codes: 0 done, 1 failed, 2 wrong usage. */
@Command(
    name = "fisher-merge",
    description = "Merges fine-tuned neural networks.",
    mixinStandardHelpOptions = true,
    versionProvider = Version.class,
    synopsisSubcommandLabel = "COMMAND",
    footer = {
      "",
      "Results go to standard output, progress to standard error.",
      "Exit code: 0 done, 1 failed, 2 wrong usage. FISHER_MERGE_STACKTRACE=1 shows where it failed."
    })
public final class Main {
  static final int FAILED = 1;

  /** Commands by name, in the order of the help. */
  static final Map<String, Class<?>> COMMANDS = new LinkedHashMap<>();

  static {
    COMMANDS.put("run", RunCommand.class);
    COMMANDS.put("fisher", FisherCommand.class);
    COMMANDS.put("merge", MergeCommand.class);
    COMMANDS.put("average", AverageCommand.class);
    COMMANDS.put("task-arithmetic", TaskArithmeticCommand.class);
    COMMANDS.put("linear", LinearCommand.class);
    COMMANDS.put("ties", TiesCommand.class);
    COMMANDS.put("dare", DareCommand.class);
    COMMANDS.put("breadcrumbs", BreadcrumbsCommand.class);
    COMMANDS.put("slerp", SlerpCommand.class);
    COMMANDS.put("mergekit", MergekitCommand.class);
    COMMANDS.put("search", SearchCommand.class);
    COMMANDS.put("add", AddCommand.class);
    COMMANDS.put("similarity", SimilarityCommand.class);
    COMMANDS.put("evaluate", EvaluateCommand.class);
    COMMANDS.put("inspect", InspectCommand.class);
    COMMANDS.put("doctor", DoctorCommand.class);
    COMMANDS.put("demo", DemoCommand.class);
    COMMANDS.put("compare", CompareCommand.class);
  }

  private static final String QUIET = "--quiet";

  /** picocli's own limit. */
  private static final int LEAST_HELP_WIDTH = 55;

  private static final Pattern CHOICES =
      Pattern.compile("expected one of \\[(.*?)] \\(case-insensitive\\) but was");

  // Held, because the logging system keeps only weak references. Standard error is for progress.
  private static final Logger PARQUET_READER = Logger.getLogger("dev.hardwood");

  static {
    PARQUET_READER.setLevel(Level.WARNING);
  }

  private final Map<String, String> environment;

  @Option(
      names = QUIET,
      scope = ScopeType.INHERIT,
      description =
          "Say nothing on standard error but warnings and errors: no progress, no remarks.")
  @SuppressWarnings("UnusedVariable")
  private boolean quiet; // looked at before the command line is parsed

  private Main(Map<String, String> environment) {
    this.environment = environment;
  }

  /** What a command asks for where models, data and configurations are. */
  static Map<String, String> environment(CommandSpec command) {
    return ((Main) command.root().userObject()).environment;
  }

  /** The words of the command line, without the program's name. */
  static List<String> words(CommandSpec command) {
    return List.copyOf(command.root().commandLine().getParseResult().originalArgs());
  }

  /** Commands that save statistics as they go. */
  private static final Set<String> SAVING = Set.of("fisher", "run", "search");

  private static volatile List<String> command = List.of();
  private static volatile boolean running;
  private static volatile boolean stopped;

  /**
   * Runs one command and ends the JVM with its exit code; a signal ends it with that of the signal.
   */
  @SuppressWarnings("SystemExitOutsideMain") // picocli's idiom: this is main
  public static void main(String[] args) {
    command = List.of(args);
    running = true;
    // What libraries log, such as why no GPU is used, in one line and without a time.
    System.setProperty("java.util.logging.SimpleFormatter.format", "%4$s: %5$s%n");
    Runtime.getRuntime().addShutdownHook(Thread.ofPlatform().unstarted(Main::stop));
    StandardOutput standard = new StandardOutput();
    Map<String, String> environment = System.getenv();
    PrintStream out = new PrintStream(standard, false, StandardCharsets.UTF_8);
    int code = run(environment, onTerminal(environment, writer(out)), writer(System.err), args);
    code = standard.exitCode(code, System.err);
    running = false;
    System.exit(code);
  }

  /**
   * What a command that was stopped leaves behind.
   *
   * @param arguments of the command line
   */
  static String stopped(List<String> arguments) {
    String left = "stopped; nothing half-written is left.";
    String name = arguments.isEmpty() ? "" : arguments.getFirst();
    if (name.equals("demo") && arguments.stream().noneMatch(word -> word.startsWith("--train"))) {
      return left + " What the demo had finished stays in its folder; it begins anew in a new one.";
    }
    return SAVING.contains(name)
        ? left + " The same command goes on from what is finished."
        : left + " The same command begins anew.";
  }

  private static void stop() {
    if (running) {
      stopped = true;
      System.err.println("\nfisher-merge: " + stopped(command));
    }
  }

  /** Runs one command and returns its exit code: what {@link #main} does, for tests. */
  static int run(PrintStream out, PrintStream err, String... args) {
    return run(System.getenv(), out, err, args);
  }

  /** The same with another environment for what asks for models, data and configurations. */
  static int run(
      Map<String, String> environment, PrintStream out, PrintStream err, String... args) {
    return run(environment, writer(out), writer(err), args);
  }

  private static PrintWriter writer(PrintStream stream) {
    return new PrintWriter(stream, true, StandardCharsets.UTF_8);
  }

  /**
   * Runs one command in this JVM, as benchmarks and embedders do.
   *
   * @param outWriter receives results
   * @param errWriter receives progress, warnings and errors
   * @return the exit code: 0, or 1 after an error, 2 where the command line is wrong
   */
  public static int run(PrintWriter outWriter, PrintWriter errWriter, String... args) {
    return run(System.getenv(), outWriter, errWriter, args);
  }

  private static int run(
      Map<String, String> environment,
      PrintWriter outWriter,
      PrintWriter errWriter,
      String... args) {
    StyledWriter out = outWriter instanceof StyledWriter known ? known : withoutStyles(outWriter);
    boolean hushed = List.of(args).contains(QUIET);
    PrintWriter plain = plain(errWriter);
    PrintWriter err = hushed ? new PrintWriter(new EssentialWriter(plain), true) : plain;
    int code;
    // A command of the demo's is quiet if the demo is.
    boolean before = Progress.hush(hushed || Progress.isHushed());
    try {
      code = execute(environment, out, err, args);
    } catch (LinkageError | VirtualMachineError e) {
      code = failed(e, err);
    } finally {
      Progress.hush(before);
    }
    out.flush();
    err.flush();
    return code;
  }

  /**
   * For this process's standard output: in colours, and in tables that fit, if it is a terminal.
   */
  private static StyledWriter onTerminal(Map<String, String> environment, PrintWriter writer) {
    return styled(
        writer,
        Terminal.OUT.takesColours(environment),
        () -> Terminal.OUT.isThere() ? Terminal.OUT.width(environment) : StyledWriter.UNLIMITED);
  }

  /** For another place. */
  private static StyledWriter withoutStyles(PrintWriter writer) {
    return styled(writer, false, () -> StyledWriter.UNLIMITED);
  }

  /** Plain but for what stands out where that is wanted. */
  private static StyledWriter styled(PrintWriter writer, boolean colours, IntSupplier columns) {
    Writer raw = Progress.around(writer);
    return new StyledWriter(new PlainWriter(raw), raw, colours, columns);
  }

  /** For text that holds names from strangers' files. */
  private static PrintWriter plain(PrintWriter writer) {
    return new PrintWriter(new PlainWriter(Progress.around(writer)), true);
  }

  private static int execute(
      Map<String, String> environment,
      StyledWriter outWriter,
      PrintWriter errWriter,
      String... args) {
    String[] words = withCommand(args);
    return commandLine(environment, words)
        .setOut(outWriter)
        .setErr(errWriter)
        .setColorScheme(
            Help.defaultColorScheme(outWriter.isStyled() ? Help.Ansi.ON : Help.Ansi.OFF))
        .setUsageHelpWidth(Math.max(LEAST_HELP_WIDTH, Terminal.OUT.width(environment)))
        .setExpandAtFiles(false)
        .setExecutionStrategy(parsed -> explained(parsed, outWriter))
        .setCaseInsensitiveEnumValuesAllowed(true)
        .registerConverter(Path.class, Main::path)
        .setParameterExceptionHandler((e, arguments) -> misused(e, errWriter))
        .setExecutionExceptionHandler((e, command, parsed) -> failed(e, errWriter))
        .execute(words);
  }

  /**
   * The command line as picocli has it: all commands and their options, or only those of the
   * command that is named first. Reading them all takes a fifth of a second, most of what a small
   * merge does.
   */
  static CommandLine commandLine(Map<String, String> environment, String... words) {
    CommandLine line = new CommandLine(new Main(environment));
    Class<?> named = words.length == 0 ? null : COMMANDS.get(words[0]);
    (named == null ? COMMANDS.values() : List.of(named)).forEach(line::addSubcommand);
    line.getSubcommands()
        .values()
        .forEach(command -> command.getCommandSpec().versionProvider(new Version()));
    return line;
  }

  /** Prints help, whose styles are our own, or runs the command. */
  private static int explained(ParseResult parsed, StyledWriter out) {
    for (CommandLine command : parsed.asCommandLineList()) {
      if (command.isUsageHelpRequested()) {
        command.usage(out.raw(), command.getColorScheme());
        out.raw().flush();
        return command.getCommandSpec().exitCodeOnUsageHelp();
      }
    }
    return new RunLast().execute(parsed);
  }

  private static Path path(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw new TypeConversionException(
          "'"
              + text
              + "' is no name of a file here: "
              + e.getReason()
              + (text.chars().allMatch(c -> c < 128)
                  ? ""
                  : "; names beyond ASCII need a UTF-8 locale, such as LC_ALL=C.UTF-8"));
    }
  }

  /** FusionBench's command line has no command's name. */
  private static String[] withCommand(String... args) {
    if (!RunCommand.isMeantBy(args)) {
      return args;
    }
    return Stream.concat(Stream.of("run"), Stream.of(args)).toArray(String[]::new);
  }

  /** One line, like every other error; the whole help would hide it. */
  private static int misused(ParameterException e, PrintWriter err) {
    CommandSpec command = e.getCommandLine().getCommandSpec();
    List<String> suggestions =
        e instanceof UnmatchedArgumentException unmatched ? unmatched.getSuggestions() : List.of();
    String message = String.valueOf(e.getMessage());
    err.println(
        "fisher-merge: "
            + plainly(oneLine(message.startsWith("Error: ") ? message.substring(7) : message))
            + (suggestions.isEmpty() ? "" : "; did you mean " + String.join(" or ", suggestions))
            + "; see "
            + command.qualifiedName()
            + " --help");
    return command.exitCodeOnInvalidInput();
  }

  /** Java's names of types mean nothing to whoever gives an option. */
  private static String plainly(String message) {
    Matcher choices = CHOICES.matcher(message);
    String named =
        choices.find()
            ? message.substring(0, choices.start())
                + "expected one of "
                + choices.group(1).toLowerCase(Locale.ROOT)
                + " and not"
                + message.substring(choices.end())
            : message;
    return named
        .replaceAll("' is not an? (int|long)$", "' is not a whole number")
        .replaceAll("' is not a (double|float)$", "' is not a number")
        .replaceAll("' is not a boolean$", "' is neither true nor false");
  }

  private static String oneLine(String message) {
    return message.strip().replaceAll("\\s*\\R\\s*", " ");
  }

  private static int failed(Throwable e, PrintWriter err) {
    if (stopped) {
      return FAILED; // what fails now fails because its files are being removed
    }
    if (e instanceof InternalError fault && String.valueOf(fault.getMessage()).contains("unsafe")) {
      // What the JVM makes of reading a mapped file beyond its end.
      err.println(
          "fisher-merge: an input file was cut short, or its disk failed, while it was read; run"
              + " again when nothing writes to the inputs");
      return FAILED;
    }
    // What the system says of a file is no defect of ours.
    boolean explained =
        e instanceof InputException
            || e instanceof UncheckedIOException
            || e instanceof OutOfMemoryError;
    String message =
        switch (e) {
          case InputException input -> String.valueOf(input.getMessage());
          case UncheckedIOException io ->
              io.getMessage() + ": " + Reasons.of(Objects.requireNonNull(io.getCause()));
          case OutOfMemoryError memory ->
              "there is not enough memory on Java's side; give it more, as in"
                  + " FISHER_MERGE_JAVA_OPTS=-Xmx8g";
          default -> "unexpected failure: " + describe(e);
        };
    err.println("fisher-merge: " + oneLine(message));
    if (System.getenv("FISHER_MERGE_STACKTRACE") != null) {
      e.printStackTrace(err);
    } else if (!explained) {
      err.println("This may be a defect; set FISHER_MERGE_STACKTRACE=1 to see where it happened.");
    }
    return FAILED;
  }

  private static String describe(Throwable e) {
    String message = e.getMessage();
    return message == null
        ? e.getClass().getSimpleName()
        : e.getClass().getSimpleName() + ": " + message;
  }
}
