package org.fishermerge.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.estimate.Gpus;
import org.fishermerge.estimate.Tool;
import org.fishermerge.kernels.KernelInfo;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.runtime.LibTorch;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code doctor}: what this machine runs on, and why a better choice is off. */
@Command(
    name = "doctor",
    mixinStandardHelpOptions = true,
    description =
        "Says which kernels, instruction set, JDK, libtorch and GPU are in use, and why a better"
            + " choice is off.")
final class DoctorCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Override
  public Integer call() {
    PrintWriter out = spec.commandLine().getOut();
    line(out, "fisher-merge", Tool.nameAndVersion());
    line(
        out,
        "JDK",
        System.getProperty("java.vm.name")
            + " "
            + Runtime.version()
            + " ("
            + System.getProperty("java.home")
            + ")");
    line(
        out,
        "machine",
        String.format(
            Locale.ROOT,
            "%s %s, %d processors, heap up to %,d MiB",
            System.getProperty("os.name"),
            System.getProperty("os.arch"),
            Runtime.getRuntime().availableProcessors(),
            Runtime.getRuntime().maxMemory() >> 20));
    try (Kernels kernels = CommandDevice.forMerging(null).open()) {
      KernelInfo info = kernels.info();
      line(
          out,
          "kernels",
          String.format(
              Locale.ROOT,
              "%s, instruction set %s, %d threads",
              info.provider(),
              info.isa(),
              info.threads()));
      info.library()
          .ifPresent(path ->
              line(out, "", "library " + path + info.abi().map(v -> ", ABI " + v).orElse("")));
      info.notes().forEach(note -> line(out, "", note));
    } catch (InputException e) {
      line(out, "kernels", "none: " + e.getMessage());
    }
    gpus(out, Gpus.find());
    line(out, "CUDA kernels", Kernels.describeGpu());
    try {
      line(out, "libtorch", LibTorch.describe());
    } catch (InputException e) {
      line(out, "libtorch", "none: " + e.getMessage());
      line(out, "", "merge, average, add and inspect work without it; fisher and evaluate do not");
    }
    return 0;
  }

  private static void gpus(PrintWriter out, Gpus gpus) {
    String key = "GPU";
    for (Gpus.Gpu gpu : gpus.all()) {
      line(out, key, gpu.toString());
      key = "";
    }
    if (gpus.reason().isPresent()) {
      line(out, key, "none is used: " + gpus.reason().get());
      key = "";
    }
    if (gpus.driver().isPresent()) {
      line(out, key, "driver for CUDA " + gpus.driver().get());
    }
  }

  private static void line(PrintWriter out, String key, String value) {
    out.printf("%-13s %s%n", key, value);
  }
}
