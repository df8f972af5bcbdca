package org.fishermerge.cli.program;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.config.Section;
import org.fishermerge.cli.program.ModelPool.Family;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.estimate.BatchSize;
import org.fishermerge.estimate.EstimationSettings;
import org.fishermerge.estimate.ExampleCount;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.Normalization;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;

/** How one model is made of a pool. */
sealed interface Method {
  /** FusionBench's name of it. */
  String target();

  /** The rule that merges the models. */
  MergeRule rule();

  /** The pre-trained model itself: the average of one. */
  record Dummy(String target) implements Method {
    @Override
    public MergeRule rule() {
      return new Average();
    }
  }

  /** The mean of the models. */
  record SimpleAverage(String target) implements Method {
    @Override
    public MergeRule rule() {
      return new Average();
    }
  }

  /** {@code pretrained + scaling_factor sum_i (model_i - pretrained)}. */
  record TaskArithmetic(String target, org.fishermerge.merge.TaskArithmetic rule)
      implements Method {}

  /**
   * The mean weighted by Fisher information.
   *
   * @param exclude regular expressions of parameters that keep the pre-trained values
   * @param rule how Fishers become weights
   * @param coefficients one for each model, or none
   * @param estimate how a Fisher is estimated
   * @param workers threads that decode pictures
   * @param cache where Fishers are kept, if not in the cache of the run; see {@code keep}
   * @param keep whether Fishers are kept at all
   * @param atOnce models that run on a device at the same time, where there is room; empty leaves
   *     it open
   */
  record FisherMerging(
      String target,
      Family family,
      List<String> exclude,
      DiagonalFisher rule,
      List<Double> coefficients,
      EstimationSettings estimate,
      int workers,
      Optional<String> cache,
      boolean keep,
      OptionalInt atOnce)
      implements Method {}

  /**
   * Reads the section.
   *
   * @param seed of selections and drawn labels
   * @param precision that Fishers are estimated in
   * @param badRows what becomes of rows that cannot be used
   */
  static Method of(Section section, long seed, Precision precision, BadRows badRows) {
    String target = section.target();
    Method method =
        switch (target) {
          case "DummyAlgorithm" -> new Dummy(target);
          case "SimpleAverageAlgorithm" -> {
            section.accept("show_pbar");
            yield new SimpleAverage(target);
          }
          case "TaskArithmeticAlgorithm" ->
              new TaskArithmetic(
                  target,
                  new org.fishermerge.merge.TaskArithmetic(
                      section.requiredNumber("scaling_factor")));
          case "FisherMergingForCLIPVisionModel" ->
              fisher(section, target, Family.CLIP, seed, precision, badRows);
          case "FisherMergingAlgorithmForGPT2" ->
              fisher(section, target, Family.GPT2, seed, precision, badRows);
          default ->
              throw new InputException(
                  section.path("_target_")
                      + ": "
                      + target
                      + " is not supported"
                      + NearestNames.of(
                          target,
                          List.of(
                              "DummyAlgorithm",
                              "SimpleAverageAlgorithm",
                              "TaskArithmeticAlgorithm",
                              "FisherMergingForCLIPVisionModel",
                              "FisherMergingAlgorithmForGPT2")));
        };
    section.done();
    return method;
  }

  private static FisherMerging fisher(
      Section section,
      String target,
      Family family,
      long seed,
      Precision precision,
      BadRows badRows) {
    // GPT-2's method has the loader's keys among its own.
    Section loader = family == Family.CLIP ? section.requiredSection("dataloader_kwargs") : section;
    section.accept("cache_dir", "devices", "name");
    int batchSize =
        Math.toIntExact(Math.min(Integer.MAX_VALUE, loader.requiredInteger("batch_size", 1)));
    long workers = loader.integer("num_workers", 0).orElse(0L);
    if (family == Family.CLIP) {
      loader.accept("pin_memory");
      loader.require("shuffle", "method.selection chooses the examples", "false");
      loader.require("drop_last", "every example counts", "false");
      loader.done();
    }
    List<String> exclude = section.texts("exclude_param_names_regex");
    for (String regex : exclude) {
      try {
        Pattern.compile(regex);
      } catch (PatternSyntaxException e) {
        throw new InputException(
            section.path("exclude_param_names_regex")
                + ": \""
                + regex
                + "\" is no regular expression: "
                + e.getDescription(),
            e);
      }
    }
    double minimal = section.requiredNumber("minimal_fisher_weight");
    if (minimal < 0) {
      throw new InputException(
          section.path("minimal_fisher_weight") + " is " + minimal + "; it must not be negative");
    }
    Objective rule =
        Objective.parse(section.text("labels").orElse(EstimationSettings.DEFAULT_LABELS));
    long examples = section.requiredInteger("num_fisher_examples", 1);
    if (rule.squaresBatches()) {
      // FusionBench starts another batch as long as it has used fewer.
      examples = Math.ceilDiv(examples, batchSize) * batchSize;
    }
    EstimationSettings estimate =
        new EstimationSettings(
            rule,
            order(section),
            ExampleCount.of(examples),
            seed,
            rule.squaresBatches() ? Integer.toString(batchSize) : BatchSize.AUTO,
            batchSize,
            false,
            precision,
            Set.of(StatisticKind.DIAGONAL_FISHER),
            badRows,
            (setting, value) -> "method." + setting.replace('-', '_') + "=" + value);
    int cores = Runtime.getRuntime().availableProcessors();
    return new FisherMerging(
        target,
        family,
        exclude,
        new DiagonalFisher(
            section.flag("normalize_fisher_weight") ? Normalization.MODEL : Normalization.NONE,
            minimal),
        section.numbers("coefficients"),
        estimate,
        workers == 0 ? cores : Math.toIntExact(Math.min(cores, workers)),
        section.textOrFalse("fisher_cache"),
        !section.isFalse("fisher_cache"),
        section.integer("models_per_device", 1).stream()
            .mapToInt(most -> Math.toIntExact(Math.min(Integer.MAX_VALUE, most)))
            .findFirst());
  }

  private static EstimationSettings.@org.jspecify.annotations.Nullable Order order(
      Section section) {
    String text = section.text("selection").orElse(null);
    if (text == null) {
      return null;
    }
    List<String> names =
        Arrays.stream(EstimationSettings.Order.values())
            .map(EstimationSettings.Order::text)
            .toList();
    if (!names.contains(text)) {
      throw new InputException(
          section.path("selection") + " is " + text + "; expected " + String.join(", ", names));
    }
    return EstimationSettings.Order.valueOf(text.toUpperCase(Locale.ROOT));
  }
}
