package org.fishermerge.merge;

import org.fishermerge.kernels.Kernels;

/** Merges in one line, for tests. */
final class Merging {
  private Merging() {}

  static MergeResult run(MergeRequest request, Kernels kernels) {
    return run(request, kernels, ProgressListener.NONE);
  }

  static MergeResult run(MergeRequest request, Kernels kernels, ProgressListener listener) {
    try (MergeSession session = MergeSession.open(request)) {
      return session.run(kernels, listener);
    }
  }

  /** What a merge would do. */
  static MergePlan plan(MergeRequest request) {
    try (MergeSession session = MergeSession.open(request)) {
      return session.plan();
    }
  }
}
