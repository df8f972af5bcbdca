package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.checkpoint.SafetensorsHeader;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;

/** Checks of what a request says, before and after its files are open. */
final class RequestChecks {
  private RequestChecks() {}

  /** What can be told without opening a file. */
  static void check(MergeRequest request) {
    if (request.models().isEmpty()) {
      throw new InputException("there is no model to merge; give at least one");
    }
    if (request.rule() instanceof TensorRule rule) {
      boolean coefficients =
          request.coefficients() != null
              || request.models().stream().anyMatch(model -> model.coefficient() != 1);
      rule.checkModels(request.models().size(), coefficients);
    }
    checkStatistics(request);
    checkCoefficients(request);
    checkInMemory(request);
    if (request.shardBytes() < 1) {
      throw new InputException(
          "--shard-size is " + request.shardBytes() + " bytes; it must be at least 1");
    }
    if (request.shardBytes() != CheckpointWriter.UNBOUNDED && request.sink() != null) {
      throw new InputException(
          "the output " + request.output() + " goes to a sink; shards need a folder as output");
    }
    if (request.shardBytes() != CheckpointWriter.UNBOUNDED && OutputTarget.isSingleFile(request)) {
      throw new InputException(
          "the output " + request.output() + " is one file; shards need a folder as output");
    }
    DType dtype = request.outputDtype();
    if (dtype != null && !dtype.isMergeable()) {
      throw new InputException("the output dtype " + dtype + " is not one of F32, F16, BF16, F64");
    }
  }

  /** Tensors that nothing names are a slip. */
  private static void checkInMemory(MergeRequest request) {
    Set<Path> named = new HashSet<>(Set.of(request.base()));
    for (MergeSource source : request.models()) {
      named.add(source.model());
      source.statistic().ifPresent(named::add);
    }
    for (Path path : request.inMemory().keySet()) {
      if (!named.contains(path)) {
        throw new InputException(
            "the tensors in memory '"
                + path
                + "' are neither the base nor a model nor a statistic of the merge; name them by"
                + " their path(), or leave them out");
      }
    }
  }

  private static void checkStatistics(MergeRequest request) {
    Set<StatisticKind> kinds = request.rule().statistics();
    List<MergeSource> models = request.models();
    List<MergeSource> odd =
        models.stream().filter(m -> m.statistic().isPresent() == kinds.isEmpty()).toList();
    if (odd.isEmpty()) {
      return;
    }
    String names = odd.stream().map(m -> m.model().toString()).collect(Collectors.joining(", "));
    if (kinds.isEmpty()) {
      throw new InputException(
          "merging by "
              + request.rule().title()
              + " weighs by no Fisher file, but one is given for "
              + names
              + ". Leave it out, or merge by Fisher.");
    }
    String file = kinds.iterator().next().fileTitle();
    throw new InputException(
        (odd.size() < models.size()
                ? "some models have a " + file + " and some have none: "
                : "no model has a " + file + ": ")
            + names
            + ". Give every model its "
            + file
            + ", or average without them.");
  }

  /** An average may extrapolate, as task arithmetic does; with Fishers a sum could cross zero. */
  private static void checkCoefficients(MergeRequest request) {
    boolean negative = request.rule().takesNegativeCoefficients();
    request.models().forEach(model -> requireCoefficient(model, negative));
    if (isOfDifferences(request)) {
      requireShareOfBase(request);
      return;
    }
    double sum = 0;
    for (MergeSource operand : request.rule().elementwise().weighted(request.operands())) {
      // The share that a rule gives the base may have either sign.
      requireCoefficient(operand, true);
      sum += operand.coefficient();
    }
    if (!(sum > 0)) {
      throw new InputException(
          "the coefficients sum to " + sum + "; at least one must be positive, and the sum too");
    }
  }

  /** The base has what the models leave of 1, so that the sum says nothing of the coefficients. */
  private static boolean isOfDifferences(MergeRequest request) {
    return request.rule().elementwise() instanceof TaskArithmetic;
  }

  /** A tensor rule computes with differences; an average of models and base needs all shares. */
  private static void requireShareOfBase(MergeRequest request) {
    if (request.rule() instanceof TensorRule) {
      return;
    }
    double sum = request.operands().stream().mapToDouble(MergeSource::coefficient).sum();
    if (!(sum > 0 && Double.isFinite(sum))) {
      throw new InputException(
          "--scaling-factor "
              + request.rule().scalingFactor()
              + " times the coefficients is so large that nothing of the base is left in double;"
              + " give a smaller one");
    }
  }

  /** Of settings tensor by tensor, once it is known which tensors there are. */
  static void checkTensorSettings(MergeRequest request, TensorChoice choice) {
    List<String> names = choice.mergedTensors().stream().map(CheckpointTensor::name).toList();
    TensorSetting coefficients = request.coefficients();
    if (coefficients != null) {
      coefficients.requireUsed(names);
      names.forEach(name -> checkCoefficients(request, name));
    }
    if (request.rule() instanceof TensorRule rule) {
      rule.checkSettings(names, request.models().size());
    }
  }

  private static void checkCoefficients(MergeRequest request, String name) {
    double sum = 0;
    List<MergeSource> operands = request.operands(name);
    for (MergeSource operand : request.rule().elementwise().weighted(operands)) {
      sum += operand.coefficient();
    }
    for (int i = 0; i < request.models().size(); i++) {
      double c = request.coefficient(name, i);
      if (!Double.isFinite(c) || (c < 0 && !request.rule().takesNegativeCoefficients())) {
        throw new InputException(
            "the coefficient of %s is %s in tensor '%s'; coefficients are finite%s"
                .formatted(
                    request.models().get(i).model(),
                    c,
                    name,
                    request.rule().takesNegativeCoefficients() ? "" : " and not negative"));
      }
    }
    if (!(sum > 0) && !isOfDifferences(request)) {
      throw new InputException(
          "the coefficients of tensor '%s' sum to %s; at least one must be positive, and the sum"
                  .formatted(name, sum)
              + " too");
    }
  }

  private static void requireCoefficient(MergeSource operand, boolean mayBeNegative) {
    double c = operand.coefficient();
    if (!(Double.isFinite(c) && (mayBeNegative || c >= 0))) {
      throw new InputException(
          "the coefficient of "
              + operand.model()
              + " is "
              + c
              + "; coefficients are finite"
              + (mayBeNegative ? "" : " and not negative"));
    }
  }

  /** Whether statistic files hold what the rule needs. */
  static void checkKinds(MergeRequest request, MergeInputs inputs) {
    for (StatisticFile file : inputs.statistics()) {
      for (StatisticKind kind : request.rule().statistics()) {
        file.require(kind, "a " + request.rule().title());
      }
    }
  }

  /** Refuses or warns of what is given more than once, by the files that were opened. */
  static void checkRepeated(MergeRequest request, MergeInputs inputs, List<String> warnings) {
    Set<Object> statistics = new HashSet<>();
    Set<Object> models = new HashSet<>();
    List<MergeSource> operands = request.operands();
    for (int i = 0; i < operands.size(); i++) {
      MergeSource operand = operands.get(i);
      operand
          .statistic()
          .filter(file -> !statistics.add(inMemory(request, file).orElseGet(() -> real(file))))
          .ifPresent(file -> {
            throw new InputException(
                "the Fisher file "
                    + file
                    + " is given twice; every model needs its own. To count a model more, give it"
                    + " a larger coefficient.");
          });
      Checkpoint model = inputs.models().get(i);
      Object identity =
          inMemory(request, operand.model())
              .orElseGet(() ->
                  model.files().stream()
                      .map(SafetensorsHeader::file)
                      .map(RequestChecks::real)
                      .toList());
      if (!models.add(identity)) {
        if (operand.statistic().isEmpty()) {
          throw new InputException(
              "the model "
                  + operand.model()
                  + " is given twice; to count it more, give it a larger coefficient");
        }
        warnings.add(
            "the model " + operand.model() + " is given twice, with different Fisher files");
      }
    }
  }

  private static Optional<Object> inMemory(MergeRequest request, Path path) {
    return Optional.ofNullable(request.inMemory().get(path));
  }

  /** Where a path leads, past all links. */
  static Path real(Path path) {
    try {
      return path.toRealPath();
    } catch (IOException e) {
      throw new InputException("cannot read " + path + ": " + Reasons.of(e), e);
    }
  }
}
