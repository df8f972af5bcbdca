package org.fishermerge.consumers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.ProgressListener;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.JarRules;
import org.fishermerge.testkit.SafetensorsBuilder;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Programs of others, in src/consumers, run as their own processes with what Maven resolves for
 * them: our artefacts from a repository that holds them as published, everything else as usual.
 */
final class ConsumersIT {
  private static final Path SOURCES = Published.ROOT.resolve("java/consumer-tests/src/consumers");

  /** For a program that is over before Java's second compiler has paid for itself. */
  private static final List<String> SHORT = List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC");

  private static final String ALLOW = "--enable-native-access=ALL-UNNAMED";

  @TempDir static Path shared;
  @TempDir Path folder;

  /** Of the merge of alpha and beta. */
  private static Path expected = Path.of("");

  private static List<String> inputs = List.of();
  private static List<Path> plain = List.of();
  private static List<Path> gpu = List.of();
  private static List<Path> embedded = List.of();
  private static List<Path> host = List.of();

  @BeforeAll
  static void resolve() throws Exception {
    Path repository = Files.createDirectory(shared.resolve("repository"));
    Published.install(repository);
    Path poms = shared.resolve("consumers");
    for (String name : List.of("", "plain", "gpu", "embedded", "host")) {
      Files.createDirectories(poms.resolve(name));
      Files.copy(SOURCES.resolve(name).resolve("pom.xml"), poms.resolve(name).resolve("pom.xml"));
    }
    List<String> maven =
        new ArrayList<>(
            List.of(
                property("maven.home") + "/bin/mvn",
                "-B",
                "-q",
                "-ntp",
                "-Dmaven.repo.local=" + repository,
                "-Dmaven.repo.local.tail=" + property("maven.local"),
                "-Dmdep.outputFile=classpath.txt"));
    if (property("maven.settings").equals("offline=true")) {
      maven.add("-o");
    }
    for (String name :
        List.of("published.version", "snappy.version", "jackson-of-others.version")) {
      maven.add("-D" + name + "=" + property(name));
    }
    maven.add(
        "org.apache.maven.plugins:maven-dependency-plugin:"
            + property("dependency-plugin.version")
            + ":build-classpath");
    run(poms, maven);
    plain = classPath(poms.resolve("plain/classpath.txt"));
    gpu = classPath(poms.resolve("gpu/classpath.txt"));
    embedded = classPath(poms.resolve("embedded/classpath.txt"));
    host = classPath(poms.resolve("host/classpath.txt"));

    expected = shared.resolve("expected");
    MergeRequest.Builder request =
        MergeRequest.builder(Golden.path("clip-tiny/pretrained"), expected, DiagonalFisher.DEFAULT);
    inputs = new ArrayList<>();
    for (String name : List.of("alpha", "beta")) {
      Path model = Golden.path("clip-tiny/" + name);
      Path fisher =
          new SafetensorsBuilder()
              .extract(Golden.path("clip-tiny/expected.safetensors"), name + ".fisher.exact.")
              .write(shared.resolve(name + ".fisher.safetensors"));
      request.model(model, fisher);
      Collections.addAll(inputs, model.toString(), fisher.toString());
    }
    try (MergeSession session = MergeSession.open(request.build());
        Kernels kernels = Kernels.open()) {
      session.run(kernels, ProgressListener.NONE);
    }
  }

  @Test
  void mavenFindsWhatThePomsSay() {
    assertThat(embedded).hasSize(1);
    assertThat(names(plain))
        .contains("fisher-merge-merge", "fisher-merge-kernels", "fisher-merge-checkpoint")
        .doesNotContain("fisher-merge-testkit", "pytorch");
    assertThat(names(host)).contains("fisher-merge-estimate", "snappy-java");
    assertThat(host)
        .filteredOn(jar -> jar.getFileName().toString().startsWith("pytorch-"))
        .hasSize(2);
    assertThat(Stream.of(plain, gpu, embedded, host).flatMap(List::stream))
        .filteredOn(jar -> jar.getFileName().toString().startsWith("fisher-merge-"))
        .allMatch(jar -> jar.startsWith(shared));
  }

  @Test
  void theDocumentationHasTheHostsLines() {
    String pom = Published.read(SOURCES.resolve("host/pom.xml"));
    String lines =
        pom.substring(
                pom.indexOf("<!-- natives-begin -->\n") + "<!-- natives-begin -->\n".length(),
                pom.indexOf("    <!-- natives-end -->"))
            .stripTrailing()
            .stripIndent();
    assertThat(Published.read(Published.ROOT.resolve("docs/artefacts.md"))).contains(lines);
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "embedded"})
  void onTheClassPath(String consumer) throws Exception {
    List<Path> jars = jars(consumer);
    Path classes = compile("app", jars, null);
    assertThat(java(jars, classes, List.of(ALLOW))).isEqualTo("cpu\n");
    assertMerged();
  }

  @ParameterizedTest
  @CsvSource({
    "plain, requires org.fishermerge.merge;, org.fishermerge.kernels",
    "embedded, requires org.fishermerge.embedded;, org.fishermerge.embedded",
  })
  void onTheModulePath(String consumer, String requires, String module) throws Exception {
    List<Path> jars = jars(consumer);
    Path classes = compile("app", jars, "module com.example { " + requires + " }");
    List<String> command = new ArrayList<>(javaCommand());
    command.add("--enable-native-access=" + module);
    command.add("-p");
    command.add(path(jars) + File.pathSeparator + classes);
    command.add("-m");
    command.add("com.example/com.example.App");
    command.addAll(arguments());
    assertThat(run(folder, command)).isEqualTo("cpu\n");
    assertMerged();
  }

  @Test
  void inSpringBootsNestedJars() throws Exception {
    Path boot = BootJar.write(folder.resolve("boot.jar"), compile("app", plain, null), plain);
    List<String> command = new ArrayList<>(javaCommand());
    Collections.addAll(command, "-jar", boot.toString());
    command.addAll(arguments());
    assertThat(run(folder, command)).isEqualTo("cpu\n");
    assertMerged();
  }

  /** The library is in a jar of its own, which is no part of the kernels' module. */
  @ParameterizedTest
  @CsvSource({
    "plain, requires org.fishermerge.kernels;, org.fishermerge.kernels",
    "embedded, requires org.fishermerge.embedded;, org.fishermerge.embedded",
  })
  void withTheCudaKernels(String consumer, String requires, String module) throws Exception {
    Path cuda =
        gpu.stream()
            .filter(jar -> jar.getFileName().toString().startsWith("fisher-merge-kernels-cuda"))
            .findFirst()
            .orElseThrow();
    assumeTrue(
        JarRules.names(cuda).stream().anyMatch(name -> name.endsWith("_cuda.so")),
        "built without nvcc: the jar is empty");
    List<Path> jars = new ArrayList<>(jars(consumer));
    Path classes = compile("gpuapp", jars, null);
    List<String> command = new ArrayList<>(javaCommand());
    Collections.addAll(command, ALLOW, "-cp", path(jars) + File.pathSeparator + classes);
    command.add("com.example.GpuApp");
    assertThat(run(folder, command)).contains("there is no fisher_kernels_cuda");
    jars.add(cuda);
    command.set(command.size() - 2, path(jars) + File.pathSeparator + classes);
    assertThat(run(folder, command)).doesNotContain("there is no fisher_kernels_cuda");

    compile("gpuapp", jars, "module com.example { " + requires + " }");
    command = new ArrayList<>(javaCommand());
    command.add("--enable-native-access=" + module);
    command.add("--add-modules=org.fishermerge.kernels.cuda");
    command.add("-p");
    command.add(path(jars) + File.pathSeparator + classes);
    command.add("-m");
    command.add("com.example/com.example.GpuApp");
    assertThat(run(folder, command)).doesNotContain("there is no fisher_kernels_cuda");
  }

  /** As applications in one server are. EmbeddedJarIT does more, with the one jar. */
  @Test
  void inTwoClassLoaders() throws Exception {
    Path classes = compile("app", plain, null);
    List<String> command = new ArrayList<>(javaCommand());
    Collections.addAll(command, ALLOW, "-cp", classes.toString(), "com.example.TwoLoaders");
    command.add(Integer.toString(plain.size() + 1));
    command.add(classes.toString());
    plain.forEach(jar -> command.add(jar.toString()));
    command.addAll(arguments());
    assertThat(run(folder, command)).isEqualTo("cpu\ncpu\n");
    assertMerged();
  }

  /** Where nothing can be written, as in /proc, or where there is no such folder. */
  @ParameterizedTest
  @ValueSource(strings = {"/proc", "/nonexistent/folder"})
  void withoutATemporaryFolder(String temporary) throws Exception {
    Path classes = compile("app", embedded, null);
    String option = "-Djava.io.tmpdir=" + temporary;
    assertThat(java(embedded, classes, List.of(ALLOW, option)))
        .contains("kernels run in plain Java")
        .contains("cannot unpack the native library into " + temporary)
        .contains("-Dfishermerge.library.path=FILE")
        .endsWith("scalar\n");
    assertMerged();
  }

  @Test
  void withALibraryThatIsNamed() throws Exception {
    Path classes = compile("app", embedded, null);
    String nowhere = "-Djava.io.tmpdir=/nonexistent/folder";
    String named = "-Dfishermerge.library.path=" + library(embedded.getFirst());
    assertThat(java(embedded, classes, List.of(ALLOW, nowhere, named)))
        .doesNotContain("plain Java")
        .endsWith("cpu\n");
  }

  @Test
  void whereNativeAccessIsDenied() throws Exception {
    Path classes = compile("app", plain, null);
    assertThat(java(plain, classes, List.of("--illegal-native-access=deny")))
        .contains("start Java with --enable-native-access=ALL-UNNAMED")
        .endsWith("scalar\n");
    assertMerged();
  }

  /** Estimates from a Parquet file, whose pages DuckDB packs with Snappy, and without our flags. */
  @Test
  void besideOtherVersionsOfSnappyAndJackson() throws Exception {
    Path data = folder.resolve("data.parquet");
    try (Connection duckdb = DriverManager.getConnection("jdbc:duckdb:");
        Statement sql = duckdb.createStatement()) {
      sql.execute(
          """
          COPY (SELECT {'bytes': content, 'path': filename} AS image, 1::BIGINT AS label
                FROM read_blob('%s/*.png'))
          TO '%s' (FORMAT parquet, CODEC 'snappy')
          """
              .formatted(Golden.path("images"), data));
    }
    Path classes = compile("hostapp", host, null);
    Path model = Golden.path("clip-tiny/alpha");
    List<String> command = new ArrayList<>(javaCommand());
    if (Files.exists(Path.of("/lib/ld-musl-x86_64.so.1"))) {
      // snappy-java takes a machine with musl beside glibc for one with musl alone.
      Path snappy =
          host.stream()
              .filter(jar -> jar.toString().contains("snappy-java"))
              .findFirst()
              .orElseThrow();
      try (FileSystem files = FileSystems.newFileSystem(snappy)) {
        Files.copy(
            files.getPath("org/xerial/snappy/native/Linux/x86_64/libsnappyjava.so"),
            folder.resolve("libsnappyjava.so"));
      }
      command.add("-Dorg.xerial.snappy.lib.path=" + folder);
      command.add("-Dorg.xerial.snappy.lib.name=libsnappyjava.so");
    }
    // Twice this would be JavaCPP's own limit.
    Collections.addAll(command, "-Xmx64m", ALLOW, "-cp", path(host) + File.pathSeparator + classes);
    Collections.addAll(
        command,
        "com.example.HostApp",
        model.toString(),
        Golden.path("clip-tiny/pretrained").toString(),
        Golden.path("clip-tiny/tasks.json") + ":alpha",
        data.toString(),
        folder.resolve("fisher.safetensors").toString());
    assertThat(run(folder, command))
        .doesNotContain("WARN", "SLF4J")
        .endsWith(
            "examples %d\njackson %s\nsnappy true\n"
                .formatted(pictures(), property("jackson-of-others.version")));
  }

  private static int pictures() throws IOException {
    try (Stream<Path> files = Files.list(Golden.path("images"))) {
      return (int) files.filter(file -> file.toString().endsWith(".png")).count();
    }
  }

  private static List<Path> jars(String consumer) {
    return consumer.equals("plain") ? plain : embedded;
  }

  private List<String> arguments() {
    List<String> arguments = new ArrayList<>();
    arguments.add(Golden.path("clip-tiny/pretrained").toString());
    arguments.add(folder.resolve("merged").toString());
    arguments.addAll(inputs);
    return arguments;
  }

  private String java(List<Path> jars, Path classes, List<String> options) throws Exception {
    List<String> command = new ArrayList<>(javaCommand());
    command.addAll(options);
    Collections.addAll(
        command, "-cp", path(jars) + File.pathSeparator + classes, "com.example.App");
    command.addAll(arguments());
    deleteMerged();
    return run(folder, command);
  }

  private void deleteMerged() throws IOException {
    Path merged = folder.resolve("merged");
    if (Files.exists(merged)) {
      try (Stream<Path> files = Files.list(merged)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(merged);
    }
  }

  private void assertMerged() {
    assertThat(folder.resolve("merged/model.safetensors"))
        .hasSameBinaryContentAs(expected.resolve("model.safetensors"));
  }

  private Path library(Path jar) throws IOException {
    Path file = folder.resolve("kernels.so");
    if (!Files.exists(file)) {
      try (FileSystem files = FileSystems.newFileSystem(jar);
          Stream<Path> paths = Files.walk(files.getPath("/"))) {
        Files.copy(
            paths.filter(path -> path.endsWith("libfisher_kernels.so")).findFirst().orElseThrow(),
            file);
      }
    }
    return file;
  }

  /** Compiles a consumer's sources, with the jars on the module path if it is a module. */
  private Path compile(String sources, List<Path> jars, @Nullable String module)
      throws IOException {
    Path classes = Files.createDirectories(folder.resolve("classes"));
    List<String> options =
        List.of("-d", classes.toString(), "-proc:none", module == null ? "-cp" : "-p", path(jars));
    List<Path> files = new ArrayList<>();
    try (Stream<Path> all = Files.list(SOURCES.resolve(sources))) {
      all.forEach(files::add);
    }
    if (module != null) {
      files.add(Files.writeString(folder.resolve("module-info.java"), module));
    }
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    boolean compiled;
    try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
      compiled =
          compiler
              .getTask(
                  messages,
                  manager,
                  null,
                  options,
                  null,
                  manager.getJavaFileObjectsFromPaths(files))
              .call();
    }
    assertThat(compiled).as(messages.toString()).isTrue();
    return classes;
  }

  private static String path(List<Path> jars) {
    return String.join(File.pathSeparator, jars.stream().map(Path::toString).toList());
  }

  private static List<Path> classPath(Path file) {
    return Pattern.compile(File.pathSeparator, Pattern.LITERAL)
        .splitAsStream(Published.read(file).strip())
        .map(Path::of)
        .toList();
  }

  /** Names of artefacts, up to the version. */
  private static List<String> names(List<Path> jars) {
    return jars.stream()
        .map(jar -> jar.getFileName().toString().replaceFirst("-\\d.*", ""))
        .toList();
  }

  private static String property(String name) {
    return Objects.requireNonNull(System.getProperty(name), name);
  }

  private static List<String> javaCommand() {
    List<String> command = new ArrayList<>(SHORT);
    command.addFirst(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    return command;
  }

  /** Runs a program to its end, which must be a good one; returns all that it printed. */
  private static String run(Path folder, List<String> command) throws Exception {
    Path log = Files.createTempFile(shared, "log", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().put("JAVA_HOME", System.getProperty("java.home"));
    builder.environment().merge("MAVEN_OPTS", String.join(" ", SHORT), (a, b) -> a + " " + b);
    int exit = builder.start().waitFor();
    assertThat(exit).as("%s%n%s", String.join(" ", command), Published.read(log)).isZero();
    return Published.read(log);
  }
}
