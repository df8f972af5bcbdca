package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Listing and choosing GPUs, with a driver that has two and with none. */
@EnabledOnOs(value = OS.LINUX, architectures = "amd64")
final class GpusIT {
  private static final Path NATIVE = Path.of(System.getProperty("fishermerge.test.native", ""));

  /** Which fills what it allocates. */
  private static final List<String> EMULATED =
      List.of(
          "-Dfishermerge.cuda.library.path=" + NATIVE.resolve("libfisher_kernels_cuda_emulated.so"),
          "-Dfishermerge.cuda.slot-bytes=1048576");

  private static final String NONE = "GPU           none is used: ";

  @TempDir Path folder;

  private record Output(int exit, String text) {}

  private Output run(Map<String, String> environment, List<String> jvmOptions, String... arguments)
      throws Exception {
    List<String> options = new ArrayList<>(jvmOptions);
    options.add("-Djava.io.tmpdir=" + folder);
    List<String> command = CommandProcess.java(options.toArray(String[]::new));
    Collections.addAll(command, arguments);
    ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
    builder.environment().putAll(environment);
    Process process = builder.start();
    process.getOutputStream().close();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Output(process.waitFor(), text);
  }

  private static Map<String, String> driver(String... settings) {
    Map<String, String> environment = new HashMap<>();
    environment.put("LD_LIBRARY_PATH", NATIVE.resolve("fake_driver").toString());
    for (int i = 0; i < settings.length; i += 2) {
      environment.put(settings[i], settings[i + 1]);
    }
    return environment;
  }

  static Stream<Arguments> drivers() {
    String a = "GPU           0: Fake A, sm_86, 16.0 GiB, ";
    String b = "\n              1: Fake B, sm_90, 80.0 GiB, ";
    String version = "\n              driver for CUDA ";
    return Stream.of(
        Arguments.of(driver(), a + "2.0 GiB free" + b + "64.0 GiB free" + version + "13.0\n"),
        Arguments.of(
            driver("FAKE_CUDA_DRIVER", "12040"),
            b
                + "0.0 GiB free\n              none is used: the NVIDIA driver runs CUDA 12.4 at"
                + " most, 13.0 is needed: update it"
                + version
                + "12.4\n"),
        Arguments.of(
            driver("FAKE_CUDA_DEVICES", "0"),
            NONE
                + "the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES can hide them)"
                + version
                + "13.0\n"),
        Arguments.of(
            driver("FAKE_CUDA_INIT", "803"),
            NONE
                + "the NVIDIA driver does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
                + version));
  }

  /** JCuda would load what anyone puts under the name that it unpacks to. */
  @ParameterizedTest
  @MethodSource("drivers")
  void doctorListsThemAndLoadsNothingFromTheTemporaryFolder(
      Map<String, String> environment, String expected) throws Exception {
    String name = "libJCudaDriver-12.6.0-linux-x86_64.so";
    Files.writeString(folder.resolve(name), "not a library");
    Output output = run(environment, List.of(), "doctor");
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text).contains(expected);
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left.filter(file -> file.getFileName().toString().contains("jcuda"))).isEmpty();
    }
  }

  /** Or what this machine has, which this JVM sees as well as another. */
  @Test
  void withoutADriverThereIsOneReason() {
    assertThat(CommandResult.run("doctor").succeeds().out())
        .containsPattern(
            "GPU +(\\d: .+GiB free|none is used: (no NVIDIA driver is installed \\(libcuda.so.1 was"
                + " not found\\)|the NVIDIA driver .+))\n");
  }

  private Output average(String device, String... jvmOptions) throws Exception {
    List<String> options = new ArrayList<>(EMULATED);
    Collections.addAll(options, jvmOptions);
    return run(driver(), options, averageOn(device).toArray(String[]::new));
  }

  private List<String> averageOn(String device) {
    List<String> arguments = GoldenCommands.average(folder.resolve("out"), "alpha");
    Collections.replaceAll(
        arguments,
        Golden.path("clip-tiny/pretrained").toString(),
        FewWords.pretrained().toString());
    Collections.addAll(arguments, "--device", device);
    return arguments;
  }

  /** The kernels' device is emulated and has number 0: it says which number it was asked for. */
  @Test
  void cudaIsTheOneWithTheMostFreeMemory() throws Exception {
    Output output = average("cuda", "-Dfishermerge.require=cuda");
    assertThat(output.text).contains("fishermerge.require=cuda: device 1 does not lie in [0, 1)");
    assertThat(output.exit).isEqualTo(1);
  }

  @ParameterizedTest
  @MethodSource("numbers")
  void aNumberThatIsGivenCounts(String device, List<String> options) throws Exception {
    Output output = average(device, options.toArray(String[]::new));
    assertThat(output.exit).as(output.text).isZero();
    assertThat(output.text).doesNotContain("no GPU is used");
  }

  static Stream<Arguments> numbers() {
    return Stream.of(
        Arguments.of("cuda:0", List.of("-Dfishermerge.require=cuda")),
        Arguments.of("cuda", List.of("-Dfishermerge.cuda.device=0")));
  }

  @Test
  void numbersAndNamesThatAreNone() throws Exception {
    Output output = average("cuda:2");
    assertThat(output.exit).isEqualTo(1);
    assertThat(output.text)
        .contains("--device cuda:2: there is no such GPU; there are 0: Fake A, sm_86")
        .contains("; 1: Fake B, sm_90");
    CommandResult.run(averageOn("cuda:x")).fails(1, "--device cuda:x: must be cpu, cuda or cuda:N");
  }

  /**
   * Merges on the emulated device; libtorch has no CUDA, so that models are measured on the CPU.
   */
  @Test
  void searchKeepsItsInputsOnTheGpu() throws Exception {
    List<String> options = new ArrayList<>(EMULATED);
    options.add("-Dfishermerge.cuda.device=0");
    Output onGpu = run(driver(), options, search("cuda").toArray(String[]::new));
    assertThat(onGpu.exit).as(onGpu.text).isZero();
    assertThat(onGpu.text)
        .containsPattern("warning: models run on the CPU, in fp32: .*CUDA")
        .contains("of inputs stay in the GPU's memory once sent");
    CommandResult onCpu = CommandResult.run(search("cpu"));
    assertThat(onCpu.code()).as(onCpu.err()).isZero();
    assertThat(onCpu.out() + onCpu.err()).doesNotContain("GPU");
    assertThat(folder.resolve("cuda/model.safetensors"))
        .hasSameBinaryContentAs(folder.resolve("cpu/model.safetensors"));
  }

  private List<String> search(String device) {
    Path models = Golden.path("clip-tiny");
    List<String> arguments = new ArrayList<>(List.of("search", "--device", device));
    Collections.addAll(arguments, "--base", FewWords.pretrained().toString());
    Collections.addAll(arguments, "--clip", FewWords.pretrained().toString());
    Collections.addAll(arguments, "--out", folder.resolve(device).toString());
    Collections.addAll(arguments, "--tries", "4", "--examples", "3");
    for (String task : List.of("alpha", "beta")) {
      String vectors = models.resolve("expected.safetensors") + "#" + task + ".";
      Collections.addAll(arguments, "--model", models.resolve(task).toString());
      Collections.addAll(arguments, "--data", vectors, "--heads", vectors);
    }
    return arguments;
  }
}
