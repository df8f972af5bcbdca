package com.example;

import java.nio.file.Path;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.ProgressListener;

/** Merges: BASE OUTPUT (MODEL FISHER)... */
public final class App {
  public static void main(String[] args) {
    MergeRequest.Builder request =
        MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), DiagonalFisher.DEFAULT);
    for (int i = 2; i < args.length; i += 2) {
      request.model(Path.of(args[i]), Path.of(args[i + 1]));
    }
    try (MergeSession session = MergeSession.open(request.build());
        Kernels kernels = Kernels.open()) {
      session.run(kernels, ProgressListener.NONE);
      System.out.println(kernels.info().provider());
    }
  }
}
