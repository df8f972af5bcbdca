package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.kernels.ResidentInputs;
import org.jspecify.annotations.Nullable;

/**
 * Runs plans of one session. With the cuda provider, and where all fits, what the session's first
 * plan merges is sent to the GPU once and stays there; what other plans merge beside that is read
 * from the files each time. For one thread at a time; closed before its session and its kernels.
 */
public final class Merger implements AutoCloseable {
  private final MergeSession session;
  private final Kernels kernels;
  private final @Nullable LinearAlgebra algebra;
  private final ResidentInputs resident;

  /** Whether a merge has been through all of the inputs. */
  private boolean sent;

  private Merger(
      MergeSession session,
      Kernels kernels,
      @Nullable LinearAlgebra algebra,
      List<MemorySegment> kept) {
    this.session = session;
    this.kernels = kernels;
    this.algebra = algebra;
    this.resident = kernels.keepResident(kept);
  }

  /** For a single merge: what is read once need not be kept. */
  static Merger streaming(MergeSession session, Kernels kernels, @Nullable LinearAlgebra algebra) {
    return new Merger(session, kernels, algebra, List.of());
  }

  static Merger resident(MergeSession session, Kernels kernels, @Nullable LinearAlgebra algebra) {
    return new Merger(
        session,
        kernels,
        algebra,
        data(session.plan(), session.files().inputs(session.plan().request())));
  }

  private static List<MemorySegment> data(MergePlan plan, MergeInputs inputs) {
    List<MemorySegment> data = new ArrayList<>();
    for (Parameter parameter : plan.choice().streamed()) {
      for (int i = 0; i < inputs.models().size(); i++) {
        Checkpoint model = inputs.models().get(i);
        String name = inputs.valueOf(i, parameter).canonicalName();
        if (!model.isComputed(name)) {
          data.add(model.segment(name));
        }
      }
      for (int i = 0; i < inputs.fishers().size(); i++) {
        Checkpoint fisher = inputs.fishers().get(i).checkpoint();
        String name = inputs.fisherOf(i, parameter).canonicalName();
        if (!fisher.isComputed(name)) {
          data.add(fisher.segment(name));
        }
      }
    }
    return data;
  }

  /**
   * Runs a plan of the session. The result has the same bits wherever the inputs are.
   *
   * @throws IllegalArgumentException if the plan is of other files than the session's
   * @throws InputException as {@link MergeSession#run} does
   * @throws java.util.concurrent.CancellationException as {@link MergeSession#run} does
   */
  public MergeResult run(MergePlan plan, ProgressListener listener) {
    session.requireSameInputs(plan.request());
    MergeResult result = MergeRun.run(plan, session.files(), kernels, algebra, !sent, listener);
    sent = resident.onDevice();
    return result;
  }

  /** Where merges find the inputs after the first one, as a line for the user. */
  public String describeInputs() {
    return resident.description();
  }

  /** Frees what was kept. Closing twice is harmless. */
  @Override
  public void close() {
    resident.close();
  }
}
