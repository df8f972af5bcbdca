package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KernelSelectionTest {
  private static KernelOptions options(String... keysAndValues) {
    Properties properties = new Properties();
    for (int k = 0; k < keysAndValues.length; k += 2) {
      properties.setProperty("fishermerge." + keysAndValues[k], keysAndValues[k + 1]);
    }
    return KernelOptions.from(properties);
  }

  @Test
  void defaultsAreTheBestProviderOnAllProcessors() {
    KernelOptions options = options("require", "");
    assertThat(options)
        .isEqualTo(
            new KernelOptions(
                "auto", "auto", Optional.empty(), Runtime.getRuntime().availableProcessors()));
    try (Kernels kernels = Kernels.open(options)) {
      KernelInfo info = kernels.info();
      assertThat(info.provider()).isEqualTo("cpu");
      assertThat(info.abi()).contains(NativeBindings.ABI_VERSION);
      assertThat(info.library()).isPresent();
    }
  }

  @Test
  void theInstructionSetCanBeLoweredAndTheNotesSaySo() {
    try (Kernels kernels = Kernels.open(options("max-isa", "baseline"))) {
      assertThat(kernels.info().isa()).isEqualTo("baseline");
      assertThat(kernels.info().notes())
          .anySatisfy(
              note -> assertThat(note).contains(": -Dfishermerge.max-isa=baseline excludes it"));
    }
  }

  @Test
  void scalarIsChosenOnlyOnRequestHere() {
    try (Kernels kernels = Kernels.open(options("provider", "scalar"))) {
      assertThat(kernels.info().provider()).isEqualTo("scalar");
      assertThat(kernels.info().library()).isEmpty();
      assertThat(kernels.info().notes())
          .contains("cpu: -Dfishermerge.provider=scalar turns it off");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "provider | gpu    | fishermerge.provider=gpu is unknown; known: auto, scalar, cpu, cuda",
        "require  | scalar | fishermerge.require=scalar is unknown; known: cpu, cuda",
        "max-isa  | sse9   | fishermerge.max-isa: unknown instruction set 'sse9'; known: auto,baseline",
        "threads  | many   | fishermerge.threads must be a whole number: 'many'",
        "threads  | 0      | fishermerge.threads must be at least 1: 0",
      })
  void unknownValuesFailWithTheKnownOnes(String key, String value, String message) {
    assertThatThrownBy(() -> Kernels.open(options(key, value)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "scalar | cpu  | fishermerge.require=cpu, but the provider is scalar: ",
        "scalar | cuda | fishermerge.require=cuda, but the provider is scalar: ",
        "cpu    | cuda | fishermerge.require=cuda, but the provider is cpu: ",
        "cuda   | cpu  | fishermerge.require=cpu, but fishermerge.provider=cuda asks for a GPU",
      })
  void anAbsentProviderIsAFailure(String provider, String require, String message) {
    assertThatThrownBy(() -> Kernels.open(options("provider", provider, "require", require)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageStartingWith(message);
  }

  @Test
  void aLibraryThatDoesNotLoadLeavesScalarAndSaysWhy() throws Exception {
    Output output = runWithLibrary("/nonexistent/libfisher_kernels.so", "auto:");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text)
        .contains("provider=scalar")
        .contains("-Dfishermerge.library.path=/nonexistent/libfisher_kernels.so is not a file");
  }

  @Test
  void aLibraryThatDoesNotLoadIsAFailureWhereItIsRequired(@TempDir Path folder) throws Exception {
    Path junk = Files.writeString(folder.resolve("junk.so"), "not a library");
    Output output = runWithLibrary(junk.toString(), "cpu:", "auto:cpu");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text.lines())
        .filteredOn(line -> line.contains("java.lang.IllegalStateException: "))
        .satisfiesExactly(
            line -> assertThat(line).startsWith("cpu:").contains("junk.so"),
            line -> assertThat(line).startsWith("auto:cpu").contains("junk.so"));
  }

  @Test
  void withoutNativeAccessKernelsRunInPlainJavaAndSayWhatToDo() throws Exception {
    Output output =
        start(List.of("--illegal-native-access=deny", "-Dfishermerge.test.bounds=true"), "auto:");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text)
        .contains("provider=scalar")
        .contains("native access is denied to it; start Java with --enable-native-access=ALL-UNN")
        .contains("shared: 8 bytes")
        .contains("confined: values is confined to one thread, which needs native access: ");
  }

  /** On a machine without a GPU, and in a build without CUDA kernels. */
  @Test
  void withoutAGpuTheCpuDoesTheWorkAndSaysWhy(@TempDir Path folder) throws Exception {
    Path junk = Files.writeString(folder.resolve("junk.so"), "not a library");
    String property = "-D" + KernelOptions.CUDA_LIBRARY_PATH + "=";
    for (String library : List.of("/nonexistent/lib.so", junk.toString())) {
      Output output = run(List.of(property + library), "cuda:", "auto:cuda", "cuda:cuda");
      assertThat(output.exit).as(output.text).isZero();
      String message = " java.lang.IllegalStateException: fishermerge.require=cuda: ";
      assertThat(output.text.lines())
          .anySatisfy(line ->
              assertThat(line)
                  .contains("WARNING: no GPU is used, kernels run on the cpu provider: "))
          .anySatisfy(
              line -> assertThat(line).startsWith("cuda: provider=cpu").contains("cuda: ", library))
          .anySatisfy(line -> assertThat(line).startsWith("auto:cuda" + message).contains(library))
          .anySatisfy(line -> assertThat(line).startsWith("cuda:cuda" + message).contains(library));
    }
  }

  /** The CUDA library is an artefact of its own, which is not on this module's class path. */
  @Test
  void withoutTheCudaLibraryThereIsAWordOnHowToGetIt() throws Exception {
    Output output = run(List.of("-Dfishermerge.test.gpu=true"), "auto:");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text)
        .contains("gpu=none: there is no fisher_kernels_cuda for ")
        .contains("fisher-merge-kernels-cuda", "FISHER_MERGE_CUDA=1");
  }

  private record Output(int exit, String text) {}

  /** The library is loaded once per process, so another one needs another process. */
  private static Output runWithLibrary(String library, String... choices)
      throws IOException, InterruptedException {
    return run(List.of("-Dfishermerge.library.path=" + library), choices);
  }

  private static Output run(List<String> flags, String... choices)
      throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(flags);
    all.add("--enable-native-access=ALL-UNNAMED");
    return start(all, choices);
  }

  /**
   * Runs {@link PrintInfo} in a process of its own.
   *
   * @param choices of {@code provider:require}, for one {@link Kernels#open()} each
   */
  private static Output start(List<String> flags, String... choices)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
    command.addAll(flags);
    command.addAll(
        List.of("-cp", System.getProperty("java.class.path"), PrintInfo.class.getName()));
    command.addAll(List.of(choices));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Output(process.waitFor(), text);
  }

  /** Prints what {@link Kernels#open()} chose, or why it failed. */
  static final class PrintInfo {
    private PrintInfo() {}

    public static void main(String[] choices) {
      if (Boolean.getBoolean("fishermerge.test.gpu")) {
        System.out.println("gpu=" + Kernels.describeGpu());
      }
      for (String choice : choices) {
        String[] words = choice.split(":", -1);
        System.setProperty("fishermerge.provider", words[0]);
        System.setProperty("fishermerge.require", words[1]);
        try (Kernels kernels = Kernels.open()) {
          KernelInfo info = kernels.info();
          System.out.println(choice + " provider=" + info.provider() + " " + info.notes());
        } catch (IllegalStateException e) {
          System.out.println(choice + " " + e);
        }
      }
      if (Boolean.getBoolean("fishermerge.test.bounds")) {
        try (Arena shared = Arena.ofShared();
            Arena confined = Arena.ofConfined()) {
          MemorySegment view = Bounds.readable("values", shared.allocate(16), 1, 8);
          System.out.println("shared: " + view.byteSize() + " bytes");
          Bounds.readable("values", confined.allocate(8), 1, 8);
        } catch (IllegalArgumentException e) {
          System.out.println("confined: " + e.getMessage());
        }
      }
    }
  }
}
