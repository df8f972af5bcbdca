package org.fishermerge.cli.program;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.config.Section;
import org.fishermerge.cli.program.ModelPool.Family;
import org.fishermerge.cli.tune.Direction;
import org.fishermerge.cli.tune.DivergenceSearch;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.estimate.BatchSize;
import org.fishermerge.estimate.EstimationSettings;
import org.fishermerge.estimate.ExampleCount;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.Normalization;
import org.fishermerge.merge.RegMean;
import org.fishermerge.merge.SparseTaskArithmetic;
import org.fishermerge.merge.SparseTaskArithmetic.Rescale;
import org.fishermerge.merge.SparseTaskArithmetic.Trim;
import org.fishermerge.merge.TaskArithmetic;
import org.fishermerge.merge.TensorSetting;
import org.fishermerge.merge.WeightedSum;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;
import org.jspecify.annotations.Nullable;

/** How one model is made of a pool. */
sealed interface Method {
  String WEIGHTED_AVERAGE = "WeightedAverageAlgorithm";
  String TASK_ARITHMETIC = "TaskArithmeticAlgorithm";
  String TIES = "TiesMergingAlgorithm";
  String DARE_TASK_ARITHMETIC = "DareTaskArithmetic";
  String DARE_AVERAGE = "DareSimpleAverage";
  String FISHER_CLIP = "FisherMergingForCLIPVisionModel";
  String FISHER_GPT2 = "FisherMergingAlgorithmForGPT2";
  String KRONECKER_CLIP = "KroneckerFisherMergingForCLIPVisionModel";
  String KRONECKER_GPT2 = "KroneckerFisherMergingForGPT2";
  String REGMEAN_CLIP = "RegMeanAlgorithmForCLIP";
  String REGMEAN_GPT2 = "RegMeanAlgorithmForGPT2";

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

  /** The mean of the models, or their sum, each with a weight. */
  record WeightedAverage(String target, MergeRule rule, List<Double> weights) implements Method {}

  /**
   * {@code pretrained + scaling_factor sum_i (model_i - pretrained)}, with the differences trimmed
   * or not.
   *
   * @param averages whether it is the mean over models and not their sum
   */
  record TaskVectors(String target, MergeRule rule, double scalingFactor, boolean averages)
      implements Method {}

  /**
   * A merge by statistics of each model on its own training data: the Fisher information, its
   * Kronecker factors, or Gram matrices.
   *
   * @param exclude regular expressions of parameters that keep the pre-trained values
   * @param rule how models are merged by them
   * @param coefficients one for each model, or none
   * @param estimate what is estimated, and how
   * @param workers threads that decode pictures
   * @param cache where statistics are kept, if not in the cache of the run; see {@code keep}
   * @param keep whether they are kept at all
   * @param atOnce models that run on a device at the same time, where there is room; empty leaves
   *     it open
   * @param tuning how the merge is chosen by divergence, if it is
   */
  record StatisticMerging(
      String target,
      Family family,
      List<String> exclude,
      MergeRule rule,
      List<Double> coefficients,
      EstimationSettings estimate,
      int workers,
      Optional<String> cache,
      boolean keep,
      OptionalInt atOnce,
      Optional<DivergenceSearch.Settings> tuning)
      implements Method {
    /** Whether {@link #estimate} averages over labels. */
    boolean dependsOnLabels() {
      return StatisticKind.anyDependsOnLabels(estimate.statistics());
    }

    /** What reports and the cache call the statistics. */
    String statistics() {
      return rule instanceof RegMean ? "gram" : "fisher";
    }
  }

  /**
   * Reads the section.
   *
   * @param seed of selections and drawn labels
   * @param precision that statistics are estimated in
   * @param badRows what becomes of rows that cannot be used
   */
  static Method of(Section section, long seed, Precision precision, BadRows badRows) {
    String target = section.target();
    StatisticReader reader = new StatisticReader(section, target, seed, precision, badRows);
    Method method =
        switch (target) {
          case "DummyAlgorithm" -> new Dummy(target);
          case "SimpleAverageAlgorithm" -> {
            section.accept("show_pbar");
            yield new SimpleAverage(target);
          }
          case WEIGHTED_AVERAGE ->
              new WeightedAverage(
                  target,
                  section.flag("normalize") ? new Average() : new WeightedSum(),
                  section.numbers("weights"));
          case TASK_ARITHMETIC -> {
            double s = section.requiredNumber("scaling_factor");
            yield new TaskVectors(target, new TaskArithmetic(s), s, false);
          }
          case TIES -> ties(section, target);
          case DARE_TASK_ARITHMETIC ->
              dare(section, target, section.requiredNumber("scaling_factor"), seed, false);
          case DARE_AVERAGE -> dare(section, target, 1, seed, true);
          case FISHER_CLIP -> reader.fisher(Family.CLIP);
          case FISHER_GPT2 -> reader.fisher(Family.GPT2);
          case KRONECKER_CLIP -> reader.kronecker(Family.CLIP);
          case KRONECKER_GPT2 -> reader.kronecker(Family.GPT2);
          case REGMEAN_CLIP -> reader.regMean(Family.CLIP);
          case REGMEAN_GPT2 -> reader.regMean(Family.GPT2);
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
                              WEIGHTED_AVERAGE,
                              TASK_ARITHMETIC,
                              TIES,
                              DARE_TASK_ARITHMETIC,
                              DARE_AVERAGE,
                              FISHER_CLIP,
                              FISHER_GPT2,
                              KRONECKER_CLIP,
                              KRONECKER_GPT2,
                              REGMEAN_CLIP,
                              REGMEAN_GPT2)));
        };
    section.done();
    return method;
  }

  private static Method ties(Section section, String target) {
    double s = section.requiredNumber("scaling_factor");
    // Above 1 it is in per cent.
    double threshold = section.requiredNumber("threshold");
    if (!(threshold > 0 && threshold <= 100)) {
      throw new InputException(
          section.path("threshold")
              + " is "
              + threshold
              + "; it is the share of differences that is kept, above 0, in per cent where it is"
              + " above 1");
    }
    if (!section.texts("remove_keys").isEmpty()) {
      throw new InputException(
          section.path("remove_keys")
              + ": all parameters have a place in the merged model; only [] is accepted");
    }
    String how = section.requiredText("merge_func");
    if (!how.equals("sum") && !how.equals("mean")) {
      throw new InputException(
          section.path("merge_func") + " is " + how + "; sum and mean are supported");
    }
    SparseTaskArithmetic rule =
        new SparseTaskArithmetic(
            Trim.MODEL_MAGNITUDE,
            TensorSetting.of(threshold > 1 ? threshold / 100 : threshold),
            TensorSetting.of(0),
            true,
            how.equals("mean"),
            Rescale.NONE,
            s,
            0);
    return new TaskVectors(target, rule, s, false);
  }

  private static Method dare(
      Section section, String target, double scalingFactor, long seed, boolean averages) {
    double sparsity = section.requiredNumber("sparsity_ratio");
    if (!(sparsity >= 0 && sparsity < 1)) {
      throw new InputException(
          section.path("sparsity_ratio")
              + " is "
              + sparsity
              + "; it is the share of differences that is dropped, from 0 and below 1");
    }
    section.require("only_on_linear_weights", "differences of all parameters are dropped", "false");
    boolean rescales = !section.keys().contains("rescale") || section.flag("rescale");
    SparseTaskArithmetic rule =
        new SparseTaskArithmetic(
            Trim.RANDOM,
            TensorSetting.of(1 - sparsity),
            TensorSetting.of(0),
            false,
            false,
            rescales ? Rescale.DENSITY : Rescale.NONE,
            scalingFactor,
            seed);
    return new TaskVectors(target, rule, scalingFactor, averages);
  }

  /** Reads methods by statistics. */
  record StatisticReader(
      Section section, String target, long seed, Precision precision, BadRows badRows) {
    StatisticMerging fisher(Family family) {
      DiagonalFisher rule = diagonal(section.number("scaling_factor").orElse(1.0));
      return merging(family, rule, "num_fisher_examples", "fisher_cache");
    }

    StatisticMerging kronecker(Family family) {
      double s = section.requiredNumber("scaling_factor");
      String rest = section.text("rest").orElse("average");
      if (!rest.equals("average") && !rest.equals("fisher")) {
        throw new InputException(
            section.path("rest") + " is " + rest + "; expected average or fisher");
      }
      double damping = section.requiredNumber("damping");
      if (damping < 0) {
        throw new InputException(
            section.path("damping") + " is " + damping + "; it must not be negative");
      }
      DiagonalFisher diagonal = diagonal(s);
      KroneckerFisher rule =
          new KroneckerFisher(
              damping,
              diagonal.normalization() == Normalization.NONE
                  ? KroneckerFisher.Scale.NONE
                  : KroneckerFisher.Scale.TRACE,
              KroneckerFisher.Tolerance.DEFAULT,
              KroneckerFisher.DEFAULT_ITERATIONS,
              rest.equals("fisher") ? diagonal : new Average(s),
              s);
      return merging(family, rule, "num_fisher_examples", "fisher_cache");
    }

    StatisticMerging regMean(Family family) {
      double ratio = section.requiredNumber("reduce_non_diagonal_ratio");
      if (ratio < 0 || ratio > 1) {
        throw new InputException(
            section.path("reduce_non_diagonal_ratio") + " is " + ratio + "; it is from 0 to 1");
      }
      section.require(
          "weight_transpose",
          "whether a model's weights are stored as outputs by inputs is known",
          family == Family.CLIP ? "true" : "false");
      double s = section.number("scaling_factor").orElse(1.0);
      return merging(
          family, new RegMean(ratio, new Average(s), s), "num_regmean_examples", "gram_cache");
    }

    private DiagonalFisher diagonal(double scalingFactor) {
      double minimal = section.requiredNumber("minimal_fisher_weight");
      if (minimal < 0) {
        throw new InputException(
            section.path("minimal_fisher_weight") + " is " + minimal + "; it must not be negative");
      }
      return new DiagonalFisher(
          section.flag("normalize_fisher_weight") ? Normalization.MODEL : Normalization.NONE,
          minimal,
          scalingFactor);
    }

    /**
     * What all of them have.
     *
     * @param examplesKey says how many examples are used
     * @param cacheKey says where statistics are kept
     */
    private StatisticMerging merging(
        Family family, MergeRule rule, String examplesKey, String cacheKey) {
      // GPT-2's method has the loader's keys among its own.
      Section loader =
          family == Family.CLIP ? section.requiredSection("dataloader_kwargs") : section;
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
      Objective labels = labels(rule);
      long examples = section.requiredInteger(examplesKey, 1);
      if (labels.squaresBatches()) {
        // FusionBench starts another batch as long as it has used fewer.
        examples = Math.ceilDiv(examples, batchSize) * batchSize;
      }
      EstimationSettings estimate =
          new EstimationSettings(
              labels,
              order(),
              ExampleCount.of(examples),
              seed,
              labels.squaresBatches() ? Integer.toString(batchSize) : BatchSize.AUTO,
              batchSize,
              false,
              precision,
              rule.statistics(),
              badRows,
              (setting, value) -> "method." + setting.replace('-', '_') + "=" + value);
      int cores = Runtime.getRuntime().availableProcessors();
      return new StatisticMerging(
          target,
          family,
          exclude(),
          rule,
          section.numbers("coefficients"),
          estimate,
          workers == 0 ? cores : Math.toIntExact(Math.min(cores, workers)),
          section.textOrFalse(cacheKey),
          !section.isFalse(cacheKey),
          section.integer("models_per_device", 1).stream()
              .mapToInt(most -> Math.toIntExact(Math.min(Integer.MAX_VALUE, most)))
              .findFirst(),
          tuning(rule, examples, batchSize));
    }

    /**
     * What {@code tune} and the keys beside it ask for; the rule's own settings are then a start.
     */
    private Optional<DivergenceSearch.Settings> tuning(
        MergeRule rule, long examples, int batchSize) {
      String text = section.text("tune").orElse(null);
      long tries = section.integer("tune_tries", 1).orElse((long) DivergenceSearch.TRIES);
      if (text == null) {
        return Optional.empty();
      }
      if (!text.equals("kl") && !text.equals("blend")) {
        throw new InputException(section.path("tune") + " is " + text + "; expected kl or blend");
      }
      double scale = section.number("scaling_factor").orElse(1.0);
      if (scale != 1) {
        throw new InputException(
            section.path("scaling_factor")
                + " is "
                + scale
                + "; with "
                + section.path("tune")
                + " scales are searched: leave it at 1");
      }
      Direction.Family family =
          switch (rule) {
            case KroneckerFisher kronecker -> Direction.kronecker(kronecker);
            case RegMean regMean -> Direction.regMean(regMean.offDiagonal());
            case DiagonalFisher diagonal -> Direction.diagonal(diagonal);
            default -> throw new IllegalArgumentException(rule.title());
          };
      return Optional.of(
          new DivergenceSearch.Settings(
              List.of(family),
              text.equals("blend")
                  ? Optional.of(DivergenceSearch.Blending.ofTensors(seed))
                  : Optional.empty(),
              Math.toIntExact(Math.min(Integer.MAX_VALUE, tries)),
              Double.POSITIVE_INFINITY,
              examples,
              seed,
              batchSize,
              badRows));
    }

    /** How labels are averaged over, where that is of importance. */
    private Objective labels(MergeRule rule) {
      return StatisticKind.anyDependsOnLabels(rule.statistics())
          ? Objective.parse(section.text("labels").orElse(EstimationSettings.DEFAULT_LABELS))
          : Objective.none();
    }

    private List<String> exclude() {
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
      return exclude;
    }

    private EstimationSettings.@Nullable Order order() {
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
}
