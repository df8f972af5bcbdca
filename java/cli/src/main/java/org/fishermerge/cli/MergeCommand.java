package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Normalization;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code merge}: the Fisher-weighted average of several models. */
@Command(
    name = "merge",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Merges models, each parameter weighted by its Fisher information.")
final class MergeCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private MergeOptions options = new MergeOptions();

  @ArgGroup(exclusive = false, multiplicity = "1..*")
  private final List<Pair> pairs = new ArrayList<>(); // picocli adds to it

  /** A model and its Fisher file. */
  private static final class Pair {
    @Option(
        names = "--model",
        required = true,
        paramLabel = "DIR",
        description = "A fine-tuned model, followed by its Fisher file. Repeat the pair.")
    Path model = Path.of("");

    @Option(
        names = "--fisher",
        required = true,
        paramLabel = "FILE",
        description = "The Fisher file of the model before it.")
    Path fisher = Path.of("");
  }

  @Option(
      names = "--normalize",
      paramLabel = "none|model|tensor",
      description =
          "Divide each model's Fisher by its norm, whole or per tensor (default: model, as"
              + " FusionBench does).")
  private Normalization normalization = Normalization.MODEL;

  @Option(
      names = "--minimal-fisher",
      paramLabel = "EPS",
      description = "Added to every Fisher value (default: ${DEFAULT-VALUE}).")
  private double minimalFisher = MergeRequest.DEFAULT_MINIMAL_FISHER;

  @Option(
      names = "--verify",
      description =
          "Hash each model whole and compare with its Fisher file; otherwise a fingerprint of"
              + " every tensor's first page is compared.")
  private boolean verify;

  @Override
  public Integer call() {
    MergeRequest.Builder request =
        options
            .request()
            .normalization(normalization)
            .minimalFisher(minimalFisher)
            .verifyHashes(verify);
    for (int i = 0; i < pairs.size(); i++) {
      Pair pair = pairs.get(i);
      request.source(
          new MergeSource(pair.model, pair.fisher, options.coefficient(i, pairs.size())));
    }
    return options.run(request.build(), spec.commandLine());
  }
}
