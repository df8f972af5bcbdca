package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.kernels.Kernels;
import org.jspecify.annotations.Nullable;

/**
 * The open inputs of a merge, checked, and the plan of what a merge of them would do; or of several
 * merges, one after the other: with other coefficients, by another rule, into other outputs. For
 * one thread at a time.
 *
 * <pre>
 * try (MergeSession session = MergeSession.open(request);
 *     Kernels kernels = Kernels.open()) {
 *   System.out.println(session.plan());
 *   session.run(kernels, ProgressListener.NONE);
 * }
 * </pre>
 */
public final class MergeSession implements AutoCloseable {
  private final MergeRequest request;
  private final OpenFiles files;
  private final List<InputFile> asOpened;
  private final MergePlan plan;

  private MergeSession(MergeRequest request, OpenFiles files) {
    this.request = request;
    this.files = files;
    this.plan = Planner.plan(request, files.inputs(request));
    this.asOpened = plan.files();
  }

  /**
   * Opens the files of a merge, and checks everything that can be checked without reading tensor
   * data, but for the first page of each tensor where a statistic file tells its model by
   * fingerprint.
   *
   * @throws InputException for the first thing that is wrong; nothing stays open then
   * @throws java.util.concurrent.CancellationException if this thread is interrupted
   */
  public static MergeSession open(MergeRequest request) {
    RequestChecks.check(request);
    OutputTarget.check(request);
    OpenFiles files = OpenFiles.open(request);
    try {
      return new MergeSession(request, files);
    } catch (Throwable e) {
      files.close();
      throw e;
    }
  }

  /** What the merge that the session was opened for would do. */
  public MergePlan plan() {
    return plan;
  }

  /**
   * What another merge of the same files would do. It may leave statistic files unused, if its rule
   * needs none.
   *
   * @throws IllegalArgumentException if its base, models or statistic files are not those of the
   *     session, in the same order
   * @throws InputException for the first thing that is wrong; also if an input has changed since
   *     the session was opened
   */
  public MergePlan plan(MergeRequest next) {
    requireSameInputs(next);
    RequestChecks.check(next);
    OutputTarget.check(next);
    asOpened.forEach(file -> file.requireUnchanged("since the first of these merges was planned"));
    return Planner.plan(next, files.inputs(next));
  }

  /** Refuses what does not read the files of this session. */
  void requireSameInputs(MergeRequest next) {
    if (!hasInputsOf(next)) {
      throw new IllegalArgumentException(
          "the request has other inputs than the session: %s, and not %s"
              .formatted(inputsOf(next), inputsOf(request)));
    }
  }

  private boolean hasInputsOf(MergeRequest next) {
    boolean same =
        next.base().equals(request.base()) && next.models().size() == request.models().size();
    for (int i = 0; same && i < next.models().size(); i++) {
      MergeSource one = request.models().get(i);
      MergeSource other = next.models().get(i);
      same =
          other.model().equals(one.model())
              && meansTheSame(next, other.model())
              && (other.statistic().isEmpty()
                  || (other.statistic().equals(one.statistic())
                      && meansTheSame(next, other.statistic().get())));
    }
    return same && meansTheSame(next, next.base());
  }

  /** Whether a path stands for the same tensors in memory, or for a file in both. */
  private boolean meansTheSame(MergeRequest next, Path path) {
    return Objects.equals(next.inMemory().get(path), request.inMemory().get(path));
  }

  /** The base, then models and statistic files, without their coefficients. */
  private static List<MergeSource> inputsOf(MergeRequest request) {
    List<MergeSource> inputs = new ArrayList<>(List.of(MergeSource.of(request.base())));
    request.models().forEach(source -> inputs.add(source.withCoefficient(1)));
    return inputs;
  }

  /**
   * Runs the merge that the session was opened for.
   *
   * @param kernels used by this thread only while this runs; not closed
   * @throws InputException if an input has changed since it was planned, a model is not the one its
   *     statistic file names, or a value is not acceptable: a Fisher that is negative or not
   *     finite, a parameter that is not finite, a result that overflows the output's dtype; or if a
   *     sink's memory is not as {@link org.fishermerge.checkpoint.TensorSink#memory} wants it.
   *     Nothing is left behind then, but for what a sink was handed.
   * @throws java.util.concurrent.CancellationException if this thread is interrupted before the
   *     output is in its place; nothing is left behind, but for what a sink was handed, and the
   *     thread stays interrupted
   */
  public MergeResult run(Kernels kernels, ProgressListener listener) {
    return run(kernels, null, listener);
  }

  /**
   * The same by any rule.
   *
   * @param algebra solves the systems of a {@link LayerRule}; null if the rule is none
   */
  public MergeResult run(
      Kernels kernels, @Nullable LinearAlgebra algebra, ProgressListener listener) {
    try (Merger merger = Merger.streaming(this, kernels, algebra)) {
      return merger.run(plan, listener);
    }
  }

  /**
   * For several merges: inputs that fit into a GPU's memory are sent there once, and stay.
   *
   * @param kernels used by the merger, and closed after it by the caller
   */
  public Merger merger(Kernels kernels) {
    return merger(kernels, null);
  }

  /**
   * The same by any rule.
   *
   * @param algebra solves the systems of {@link LayerRule}s; null if no rule is one
   */
  public Merger merger(Kernels kernels, @Nullable LinearAlgebra algebra) {
    return Merger.resident(this, kernels, algebra);
  }

  /**
   * The statistic files of the models that have one, in the request's order. They are open until
   * the session is closed, which closes them.
   */
  public List<StatisticFile> statisticFiles() {
    return files.statistics();
  }

  OpenFiles files() {
    return files;
  }

  /** Closes the files. Closing twice is harmless. */
  @Override
  public void close() {
    files.close();
  }
}
