package org.fishermerge.estimate;

import java.math.BigDecimal;
import java.math.MathContext;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeMap;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticMetadata;
import org.fishermerge.data.Columns;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.SplitFiles;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.objective.Objective;
import org.fishermerge.torch.runtime.Precision;

/**
 * All that an estimate depends on, in one place: the name of a kept Fisher, the key of saved
 * progress and the metadata of the file are made here. Whatever comes to change an estimate is
 * added to all three. What only merging depends on is in none.
 *
 * <p>The model is known by its tensors' hash in all of them. Head and data are known by what they
 * are before they are opened ({@link #cacheKey}), or by the rows and the model's predictions on
 * them ({@link #progressKey}).
 *
 * @param modelSha256 of the model's tensors
 */
record EstimateInputs(String modelSha256, EstimationSettings settings) {
  /**
   * Names an estimate before anything is opened.
   *
   * @param classifier a hash of what logits depend on besides model and data
   * @param data the files that examples are read from
   * @return 64 hexadecimal digits
   */
  String cacheKey(String classifier, DataSource data, Columns columns, Matching matching) {
    ContentKey key =
        new ContentKey("fisher-merge Fisher 1")
            .add(modelSha256)
            .add(classifier)
            .add(settings.rule().text())
            .add(settings.chosenOrder().text())
            .add(settings.examples().most())
            .add(settings.seed());
    addTarget(key);
    if (settings.rule().squaresBatches()) {
      key.add(settings.batchSize());
    }
    addPrecision(key);
    addStatistics(key);
    if (matching != Matching.AUTO) {
      key.add(matching.text());
    }
    if (!columns.equals(Columns.USUAL)) {
      new TreeMap<>(columns.names()).forEach((usual, name) -> key.add(usual).add(name));
    }
    data.files().forEach(key::addFile);
    if (!data.isWhole()) {
      data.parts().forEach(part -> key.add(part.slice()));
    }
    for (SplitFiles split : data.splits()) {
      if (split.format() == SplitFiles.Format.PICTURES) {
        // Names of folders are labels.
        split.classes().forEach(key::add);
        split
            .files()
            .forEach(file -> key.add(Objects.toString(file.resolveSibling("").getFileName(), "")));
      }
      new TreeMap<>(split.classNames())
          .forEach((column, names) -> {
            key.add(column);
            names.forEach(key::add);
          });
    }
    return key.hex();
  }

  /**
   * Names what is known of an estimate before the model runs.
   *
   * @param rows in the order in which they run
   */
  String progressKey(String dataset, long[] rows) {
    ContentKey key =
        new ContentKey("fisher-merge progress 1")
            .add(modelSha256)
            .add(settings.rule().text())
            .add(settings.chosenOrder().text())
            .add(settings.seed())
            .add(dataset);
    addPrecision(key);
    addStatistics(key);
    addTarget(key);
    for (long row : rows) {
      key.add(row);
    }
    return key.hex() + " ";
  }

  private void addStatistics(ContentKey key) {
    if (!settings.statistics().equals(Set.of(StatisticKind.DIAGONAL_FISHER))) {
      settings.statistics().forEach(kind -> key.add(kind.label()));
    }
  }

  private void addTarget(ContentKey key) {
    if (settings.examples().isAuto()) {
      key.add(settings.examples().text());
    }
  }

  private void addPrecision(ContentKey key) {
    if (settings.precision() != Precision.FP32) {
      key.add(settings.precision().text());
    }
  }

  /** Names head and data by what the model makes of some of its rows; follows progressKey. */
  static String predictionsKey(ForwardPass pass, Objective calibrated) {
    ContentKey key = new ContentKey(calibrated.toString());
    for (double[] p : pass.predictions()) {
      for (double value : p) {
        key.add(Double.doubleToLongBits(value));
      }
    }
    return key.hex();
  }

  /**
   * What the file says about itself.
   *
   * @param estimator that ran, finished
   * @param batch examples of a batch, which is a part of what batch squares are
   */
  StatisticMetadata metadata(
      FisherEstimator estimator, Objective rule, int batch, String dataset, String fingerprint) {
    OptionalDouble error = estimator.samplingError();
    return new StatisticMetadata(
        estimator.examples(),
        rule.squaresBatches() ? rule.text() + ":" + batch : rule.text(),
        dataset,
        settings.chosenOrder().text(),
        Long.toString(settings.seed()),
        modelSha256,
        fingerprint,
        settings.precision() == Precision.FP32 ? null : settings.precision().text(),
        error.isEmpty()
            ? null
            : new BigDecimal(error.getAsDouble()).round(new MathContext(3)).toPlainString(),
        Tool.nameAndVersion());
  }
}
