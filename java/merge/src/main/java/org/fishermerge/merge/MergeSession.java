package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.MappedGuard;
import org.fishermerge.kernels.ResidentInputs;
import org.jspecify.annotations.Nullable;

/**
 * Several merges of the same files, one after the other: with other coefficients, another formula,
 * into other outputs. The files are opened once. With the cuda provider, and where all fits, what
 * is merged is sent to the GPU once and stays there. For one thread at a time.
 *
 * <pre>
 * try (MergeSession session = MergeSession.open(plan, kernels)) {
 *   session.run(plan, ProgressListener.NONE);
 *   session.run(MergePlan.of(withOtherCoefficients), ProgressListener.NONE);
 * }
 * </pre>
 */
public final class MergeSession implements AutoCloseable {
  private final MergePlan plan;
  private final Kernels kernels;
  private final MergeInputs inputs;
  private final MappedGuard guard;
  private final ResidentInputs held;

  /** Whether a merge has been through all of the inputs. */
  private boolean sent;

  private MergeSession(
      MergePlan plan, Kernels kernels, MergeInputs inputs, MappedGuard guard, ResidentInputs held) {
    this.plan = plan;
    this.kernels = kernels;
    this.inputs = inputs;
    this.guard = guard;
    this.held = held;
  }

  /**
   * Opens the files of a plan. What it merges is held; what other plans merge beside that is read
   * from the files each time.
   *
   * @param kernels used by {@link #run} too; closed after this, by the caller
   * @throws InputException if an input has changed since it was planned
   */
  public static MergeSession open(MergePlan plan, Kernels kernels) {
    return open(plan, kernels, true);
  }

  /** For a single merge: what is read once need not be held. */
  static MergeSession openOnce(MergePlan plan, Kernels kernels) {
    return open(plan, kernels, false);
  }

  private static MergeSession open(MergePlan plan, Kernels kernels, boolean hold) {
    plan.files().forEach(file -> file.requireUnchanged(MergePlan.SINCE_PLANNED));
    MergeInputs inputs = MergeInputs.open(plan.request());
    MappedGuard guard = null;
    try {
      guard = kernels.guard(inputs.mappings());
      ResidentInputs held = kernels.keepResident(hold ? mergedData(plan, inputs) : List.of());
      return new MergeSession(plan, kernels, inputs, guard, held);
    } catch (Throwable e) {
      close(inputs, guard);
      throw e;
    }
  }

  private static List<MemorySegment> mergedData(MergePlan plan, MergeInputs inputs) {
    List<MemorySegment> data = new ArrayList<>();
    for (Parameter parameter : plan.mergedParameters()) {
      for (int i = 0; i < inputs.models().size(); i++) {
        Checkpoint model = inputs.models().get(i);
        String name = inputs.valueOf(i, parameter).canonicalName();
        if (!model.isComputed(name)) {
          data.add(model.segment(name));
        }
      }
      for (int i = 0; i < inputs.fishers().size(); i++) {
        data.add(inputs.fishers().get(i).segment(inputs.fisherOf(i, parameter).canonicalName()));
      }
    }
    return data;
  }

  /**
   * Runs a plan, as {@link Merger#run} does and with the same bits.
   *
   * @throws IllegalArgumentException if the plan's base, models and Fisher files are not those that
   *     the session was opened with, in the same order
   * @throws InputException as {@link Merger#run}; also if an input has changed since the session
   *     was opened
   */
  public MergeResult run(MergePlan next, ProgressListener listener) {
    if (!inputsOf(next).equals(inputsOf(plan))) {
      throw new IllegalArgumentException(
          "the plan has other inputs than the session: %s, and not %s"
              .formatted(inputsOf(next), inputsOf(plan)));
    }
    for (MergePlan.InputFile file : next.files()) {
      if (!plan.files().contains(file)) {
        throw file.changed("since the first of these merges was planned");
      }
      file.requireUnchanged(MergePlan.SINCE_PLANNED);
    }
    MergeResult result = Merger.run(next, inputs, kernels, !sent, listener);
    sent = held.onDevice();
    return result;
  }

  /** The base, then models and Fisher files, without their coefficients. */
  private static List<MergeSource> inputsOf(MergePlan plan) {
    List<MergeSource> files = new ArrayList<>();
    files.add(new MergeSource(plan.request().base(), null, 1));
    for (MergeSource source : plan.request().sources()) {
      files.add(new MergeSource(source.model(), source.fisher(), 1));
    }
    return files;
  }

  /** Where merges find the inputs after the first one, as a line for the user. */
  public String describeInputs() {
    return held.description();
  }

  /** Closes the files and frees what was kept. Closing twice is harmless. */
  @Override
  public void close() {
    held.close();
    close(inputs, guard);
  }

  private static void close(MergeInputs inputs, @Nullable MappedGuard guard) {
    if (guard != null) {
      guard.close();
    }
    inputs.close();
  }
}
