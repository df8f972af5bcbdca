package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeResult;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.ProgressListener;

/**
 * {@code benchmarks/run resident cpu|cuda DIR DIR...}: merges models that {@code benchmarks/run
 * model} wrote, several times in one session with other coefficients each time, and by themselves.
 * On a GPU the first merge of a session sends the inputs, and later ones find them there.
 */
public final class ResidentMerge {
  private static final int IN_SESSION = 4;
  private static final int ALONE = 2;

  private ResidentMerge() {}

  /** Arguments: device, folders of models. */
  public static void main(String[] args) throws IOException {
    if (args.length < 3 || !List.of("cpu", "cuda").contains(args[0])) {
      System.err.println("benchmarks/run resident: expected cpu|cuda and folders of two models");
      System.exit(2);
    }
    List<Path> models = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      models.add(Path.of(args[i]));
    }
    KernelOptions options =
        KernelOptions.fromSystemProperties()
            .withProvider(args[0])
            .withRequire(Optional.of(args[0]));
    try (ScratchFolder folder = new ScratchFolder();
        Kernels kernels = Kernels.open(options)) {
      run(kernels, models, folder);
    } catch (InputException | IllegalStateException e) {
      System.err.println("benchmarks/run resident: " + e.getMessage());
      System.exit(1);
    }
  }

  private static void run(Kernels kernels, List<Path> models, ScratchFolder folder)
      throws IOException {
    System.out.printf("%d models, %s%n", models.size(), kernels.info());
    Path inSession = folder.resolve("session.safetensors");
    Path alone = folder.resolve("alone.safetensors");
    try (MergeSession session = MergeSession.open(request(models, inSession, 0));
        Merger merger = session.merger(kernels)) {
      System.out.println(merger.describeInputs());
      for (int k = 0; k < IN_SESSION; k++) {
        MergePlan plan = session.plan(request(models, inSession, k));
        time("in a session", k, () -> merger.run(plan, ProgressListener.NONE));
      }
    }
    // The last one has the coefficients of the session's last.
    for (int k = IN_SESSION - ALONE; k < IN_SESSION; k++) {
      try (MergeSession session = MergeSession.open(request(models, alone, k))) {
        time("by itself", k, () -> session.run(kernels, ProgressListener.NONE));
      }
    }
    if (Files.mismatch(inSession, alone) >= 0) {
      throw new IllegalStateException("a merge in a session has other bits than one by itself");
    }
  }

  private static MergeRequest request(List<Path> models, Path output, int number) {
    MergeRequest.Builder request =
        MergeRequest.builder(models.getFirst(), output, DiagonalFisher.DEFAULT).overwrite(true);
    for (int i = 0; i < models.size(); i++) {
      Path fisher = Path.of(models.get(i) + ".fisher.safetensors");
      request.model(
          MergeSource.of(models.get(i), fisher).withCoefficient(1 + (i + number) % models.size()));
    }
    return request.build();
  }

  private static void time(String how, int number, Supplier<MergeResult> merge) {
    long start = System.nanoTime();
    MergeResult result = merge.get();
    double seconds = (System.nanoTime() - start) / 1e9;
    System.out.printf(
        Locale.ROOT,
        "merge %d %-12s %8.3f s %8.2f GB/s%n",
        number + 1,
        how,
        seconds,
        (result.bytesRead() + result.bytesWritten()) / seconds / 1e9);
  }
}
