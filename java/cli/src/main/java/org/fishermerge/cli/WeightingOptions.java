package org.fishermerge.cli;

import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.Normalization;
import picocli.CommandLine.Option;

/** Options that say how Fishers become weights. */
final class WeightingOptions {
  @Option(
      names = "--normalize",
      paramLabel = "none|model|tensor",
      description =
          "Divide each model's Fisher by its norm, whole or per tensor (default: model, as"
              + " FusionBench does); Kronecker factors by their traces, of all layers or of each.")
  private Normalization normalization = Normalization.MODEL;

  @Option(
      names = "--minimal-fisher",
      paramLabel = "EPS",
      description = "Added to every Fisher value (default: ${DEFAULT-VALUE}).")
  private double minimalFisher = DiagonalFisher.DEFAULT_MINIMAL_FISHER;

  @Option(
      names = "--verify",
      description =
          "Hash each model whole and compare with its Fisher file; otherwise a fingerprint of"
              + " every tensor's first page is compared.")
  private boolean verify;

  /**
   * The rule.
   *
   * @param scalingFactor how far it goes from the base
   */
  DiagonalFisher rule(double scalingFactor) {
    return new DiagonalFisher(normalization, minimalFisher, scalingFactor);
  }

  MergeRequest.Builder apply(MergeRequest.Builder request) {
    return request.verifyHashes(verify);
  }
}
