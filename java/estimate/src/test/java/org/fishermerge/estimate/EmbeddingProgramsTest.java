package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.SafetensorsBuilder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The programs of docs/embedding.md compile, run, and do what they say. */
final class EmbeddingProgramsTest {
  private static final int MOST_LINES = 28;
  private static final Path BASE = Golden.path("clip-tiny/pretrained");
  private static final List<String> TASKS = List.of("alpha", "beta");

  @TempDir static Path shared;
  @TempDir Path folder;

  private static List<Path> sources;
  private static URLClassLoader programs;

  @BeforeAll
  static void compileAndEstimate() throws IOException, URISyntaxException {
    URL found =
        Objects.requireNonNull(
            EmbeddingProgramsTest.class.getResource("embedding/MergeFiles.java"));
    try (Stream<Path> files = Files.list(Path.of(found.toURI()).resolveSibling(""))) {
      sources = files.sorted().toList();
    }
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    ByteArrayOutputStream messages = new ByteArrayOutputStream();
    try (StandardJavaFileManager manager =
        compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8)) {
      boolean compiled =
          compiler
              .getTask(
                  new OutputStreamWriter(messages, StandardCharsets.UTF_8),
                  manager,
                  null,
                  List.of(
                      "-d",
                      shared.resolve("classes").toString(),
                      "-proc:none",
                      "-Xlint:all,-serial",
                      "-Werror",
                      "-cp",
                      System.getProperty("java.class.path")),
                  null,
                  manager.getJavaFileObjectsFromPaths(sources))
              .call();
      assertThat(compiled).as(messages.toString(StandardCharsets.UTF_8)).isTrue();
    }
    programs =
        new URLClassLoader(
            new URL[] {shared.resolve("classes").toUri().toURL()},
            EmbeddingProgramsTest.class.getClassLoader());
    for (String task : TASKS) {
      String[] arguments = {
        model(task), BASE.toString(), classes(task), data(task), statistic(task)
      };
      assertThat(run("EstimateFisher", arguments)).containsExactly("6 examples");
    }
  }

  @AfterAll
  static void close() throws IOException {
    programs.close();
  }

  private static String model(String task) {
    return Golden.path("clip-tiny/" + task).toString();
  }

  private static String classes(String task) {
    return Golden.path("clip-tiny/tasks.json") + ":" + task;
  }

  private static String data(String task) {
    return Golden.path("clip-tiny/expected.safetensors") + "#" + task + ".";
  }

  private static String statistic(String task) {
    return shared.resolve(task + ".safetensors").toString();
  }

  /** The lines that a program prints. */
  private static List<String> run(String program, String... arguments) {
    PrintStream before = System.out;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    try {
      var constructor = programs.loadClass(program).getDeclaredConstructor();
      constructor.setAccessible(true);
      Object instance = constructor.newInstance();
      for (Method method : instance.getClass().getDeclaredMethods()) {
        if (method.getName().equals("main")) {
          method.setAccessible(true);
          method.invoke(
              instance, method.getParameterCount() == 0 ? new Object[0] : new Object[] {arguments});
        }
      }
    } catch (InvocationTargetException e) {
      throw new AssertionError(program, e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(program, e);
    } finally {
      System.setOut(before);
    }
    return out.toString(StandardCharsets.UTF_8).lines().toList();
  }

  private static float[] floats(String model, String tensor) {
    try (Checkpoint open = Checkpoint.open(Path.of(model))) {
      return open.floats(tensor);
    }
  }

  private static float[] norm(String model) {
    return floats(model, "post_layernorm.weight");
  }

  @Test
  void thePageShowsThemWhole() throws IOException {
    String page =
        Files.readString(
            Path.of(System.getProperty("basedir", ".")).resolve("../../docs/embedding.md"));
    assertThat(sources).hasSize(10);
    for (Path source : sources) {
      String program = Files.readString(source);
      assertThat(program.lines()).as(source.toString()).hasSizeLessThanOrEqualTo(MOST_LINES);
      assertThat(program.lines()).as(source.toString()).allMatch(line -> line.length() <= 100);
      assertThat(page).contains("`" + source.getFileName() + "`", "```java\n" + program + "```");
    }
    assertThat(page.split("```java", -1)).as("and no others").hasSize(sources.size() + 1);
  }

  @Test
  void mergesFiles() {
    String out = folder.resolve("merged").toString();
    List<String> printed = run("MergeFiles", BASE.toString(), out, model("alpha"), model("beta"));
    assertThat(printed.getFirst()).isEqualTo("average of 2 models into " + out);
    float[] alpha = norm(model("alpha"));
    float[] beta = norm(model("beta"));
    float[] merged = norm(out);
    for (int i = 0; i < merged.length; i++) {
      assertThat(merged[i]).isEqualTo((float) ((alpha[i] + (double) beta[i]) / 2));
    }
  }

  @Test
  void mergesInMemory() {
    assertThat(run("MergeInMemory")).containsExactly("[0.5, 1.0, 1.5, 2.0]");
  }

  @Test
  void mergesByFisher() {
    String out = folder.resolve("merged").toString();
    List<String> printed =
        run(
            "FisherMerge",
            BASE.toString(),
            out,
            model("alpha"),
            statistic("alpha"),
            "1",
            model("beta"),
            statistic("beta"),
            "0");
    assertThat(printed).hasSize(2);
    assertThat(printed.getFirst()).startsWith(model("alpha") + ": norm ").endsWith("weight 1.0");
    assertThat(norm(out)).isEqualTo(norm(model("alpha")));
  }

  @Test
  void cancels() {
    String[] arguments = {
      BASE.toString(), folder.resolve("merged").toString(), model("alpha"), "PT0S"
    };
    List<String> printed = run("CancelMerge", arguments);
    assertThat(Thread.interrupted()).isTrue();
    assertThat(printed.getLast()).isEqualTo("cancelled: interrupted; nothing was written");
    assertThat(folder).isEmptyDirectory();
    arguments[3] = "P1D";
    assertThat(run("CancelMerge", arguments).getLast()).isEqualTo("100 %");
    assertThat(folder.resolve("merged")).isDirectory();
  }

  @Test
  void mergesByLayer() {
    String out = folder.resolve("merged").toString();
    List<String> printed =
        run("KroneckerMerge", BASE.toString(), out, model("alpha"), statistic("alpha"));
    assertThat(printed).hasSize(1).first().asString().startsWith("worst residual ");
    // Of one model nothing is left to solve.
    String layer = "encoder.layers.0.mlp.fc1.weight";
    float[] expected = floats(model("alpha"), layer);
    float[] merged = floats(out, layer);
    for (int i = 0; i < merged.length; i++) {
      assertThat(merged[i]).isCloseTo(expected[i], within(1e-5f));
    }
  }

  @Test
  void measuresDivergences() {
    List<Double> nats =
        run("SearchByKl", BASE.toString(), model("alpha"), classes("alpha"), data("alpha")).stream()
            .map(line -> Double.valueOf(line.substring(line.indexOf(' '))))
            .toList();
    assertThat(nats).hasSize(5);
    assertThat(nats.getFirst()).isGreaterThan(1e-3);
    // At scale 1 the model meets itself.
    assertThat(nats.getLast()).isCloseTo(0, within(1e-9));
  }

  @Test
  void filtersAStatistic() {
    Path out = folder.resolve("filtered.safetensors");
    assertThat(run("FilterStatistic", statistic("alpha"), out.toString(), "layernorm"))
        .singleElement()
        .asString()
        .endsWith(" tensors, sums over 6 examples");
    try (StatisticFile filtered = StatisticFile.open(out);
        StatisticFile all = StatisticFile.open(Path.of(statistic("alpha")))) {
      assertThat(filtered.metadata()).isEqualTo(all.metadata());
      assertThat(filtered.tensors().keySet())
          .isNotEmpty()
          .allMatch(name -> name.contains("layernorm"));
      for (String name : filtered.tensors().keySet()) {
        assertThat(filtered.segment(name).mismatch(all.segment(name))).isEqualTo(-1);
      }
    }
  }

  @Test
  void handlesErrors() {
    Path out = folder.resolve("merged.safetensors");
    assertThat(run("HandleErrors", "nowhere", out.toString(), model("alpha")))
        .singleElement()
        .asString()
        .startsWith("for the user: nowhere");
    Path half =
        new SafetensorsBuilder()
            .put("w", "F16", new long[] {1}, new byte[] {0, 0})
            .write(folder.resolve("half.safetensors"));
    Path large =
        new SafetensorsBuilder()
            .floats("w", new long[] {1}, 1e30f)
            .write(folder.resolve("large.safetensors"));
    assertThat(run("HandleErrors", half.toString(), out.toString(), large.toString()))
        .singleElement()
        .asString()
        .startsWith("another output dtype would do: ")
        .contains("'w'");
    Thread.currentThread().interrupt();
    assertThat(run("HandleErrors", half.toString(), out.toString(), large.toString()))
        .containsExactly("interrupted");
    assertThat(Thread.interrupted()).isTrue();
    assertThat(out).doesNotExist();
  }

  @Test
  void choosesKernels() {
    try (Kernels kernels = Kernels.open()) {
      String provider = kernels.info().provider();
      assertThat(run("ChooseKernels", provider, "3").getFirst())
          .startsWith(provider + " (")
          .endsWith(", 3 threads");
    }
    assertThat(run("ChooseKernels", "fastest", "1")).singleElement().asString().contains("fastest");
  }
}
