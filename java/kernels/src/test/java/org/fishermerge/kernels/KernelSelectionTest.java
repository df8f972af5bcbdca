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
    Output output = runWithLibrary("auto", "", "/nonexistent/libfisher_kernels.so");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text)
        .contains("provider=scalar")
        .contains("-Dfishermerge.library.path=/nonexistent/libfisher_kernels.so is not a file");
  }

  @Test
  void aLibraryThatDoesNotLoadIsAFailureWhereItIsRequired(@TempDir Path folder) throws Exception {
    Path junk = Files.writeString(folder.resolve("junk.so"), "not a library");
    for (String[] choice : new String[][] {{"cpu", ""}, {"auto", "cpu"}}) {
      Output output = runWithLibrary(choice[0], choice[1], junk.toString());
      assertThat(output.exit).as(output.text).isNotZero();
      assertThat(output.text).contains("IllegalStateException").contains("junk.so");
    }
  }

  @Test
  void withoutNativeAccessKernelsRunInPlainJavaAndSayWhatToDo() throws Exception {
    Output output = start("--illegal-native-access=deny", "-Dfishermerge.test.bounds=true");
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
      Output output = run(property + library, "-Dfishermerge.provider=cuda");
      assertThat(output.exit).as(output.text).isZero();
      assertThat(output.text)
          .contains("WARNING: no GPU is used, kernels run on the cpu provider: ")
          .contains("provider=cpu", "cuda: ", library);
      for (String provider : List.of("auto", "cuda")) {
        Output required =
            run(
                property + library,
                "-Dfishermerge.provider=" + provider,
                "-Dfishermerge.require=cuda");
        assertThat(required.exit).as(required.text).isNotZero();
        assertThat(required.text)
            .contains("IllegalStateException: fishermerge.require=cuda: ", library);
      }
    }
  }

  /** The CUDA library is an artefact of its own, which is not on this module's class path. */
  @Test
  void withoutTheCudaLibraryThereIsAWordOnHowToGetIt() throws Exception {
    Output output = run("-Dfishermerge.test.gpu=true");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text)
        .contains("gpu=none: there is no fisher_kernels_cuda for ")
        .contains("fisher-merge-kernels-cuda", "FISHER_MERGE_CUDA=1");
  }

  private record Output(int exit, String text) {}

  /** The library is loaded once per process, so another one needs another process. */
  private static Output runWithLibrary(String provider, String require, String library)
      throws IOException, InterruptedException {
    return run(
        "-Dfishermerge.provider=" + provider,
        "-Dfishermerge.require=" + require,
        "-Dfishermerge.library.path=" + library);
  }

  private static Output run(String... properties) throws IOException, InterruptedException {
    List<String> flags = new ArrayList<>(List.of(properties));
    flags.add("--enable-native-access=ALL-UNNAMED");
    return start(flags.toArray(String[]::new));
  }

  private static Output start(String... flags) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of(flags));
    command.addAll(
        List.of("-cp", System.getProperty("java.class.path"), PrintInfo.class.getName()));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Output(process.waitFor(), text);
  }

  /** Prints what {@link Kernels#open()} chose. */
  static final class PrintInfo {
    private PrintInfo() {}

    public static void main(String[] arguments) {
      if (Boolean.getBoolean("fishermerge.test.gpu")) {
        System.out.println("gpu=" + Kernels.describeGpu());
      }
      try (Kernels kernels = Kernels.open()) {
        KernelInfo info = kernels.info();
        System.out.println("provider=" + info.provider() + " " + info.notes());
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
