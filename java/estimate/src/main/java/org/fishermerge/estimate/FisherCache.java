package org.fishermerge.estimate;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.data.Columns;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.files.DataSource;

/**
 * Fisher files by the content of what they were made of: model, head, data, and every setting that
 * changes the estimate. Threads may use it for different Fishers at the same time.
 *
 * @param folder where the files are
 * @param settings of every estimate
 * @param matching how the classes of data and models are matched, on which labels depend
 */
public record FisherCache(Path folder, EstimationSettings settings, Matching matching) {
  /** A name may be longer than a file's. */
  private static final int LONGEST_NAME = 100;

  private static final int SHOWN = 16; // digits of the key in a file's name

  /**
   * What a Fisher is of.
   *
   * @param name begins the file's name; changes nothing else
   * @param modelSha256 of the model's tensors
   * @param classifier a hash of what logits depend on besides model and data
   * @param data the files of the examples
   * @param columns what their columns are called
   * @param source opens all of it
   */
  public record Subject(
      String name,
      String modelSha256,
      String classifier,
      DataSource data,
      Columns columns,
      ModelSource source) {}

  /**
   * A Fisher.
   *
   * @param labels the rule as the file has it; empty if it has none
   * @param estimated what the estimation did; empty if the file was there
   */
  public record Entry(
      Path file, long examples, String labels, Optional<Estimation.Result> estimated) {}

  /**
   * The Fisher of a model on its data, estimated unless it is kept already.
   *
   * @param device where it is estimated
   * @throws org.fishermerge.checkpoint.InputException as {@link Estimation#run}
   */
  public Entry get(Subject subject, SharedDevice device, EstimationListener listener) {
    Path file = folder.resolve(fileName(subject));
    Optional<Estimation.Result> estimated = Optional.empty();
    if (Files.exists(file)) {
      listener.remark(title(settings.statistics()) + " from " + file);
    } else {
      estimated =
          Optional.of(
              Estimation.of(subject.source(), settings)
                  .device(device)
                  .listener(listener)
                  .output(file)
                  .overwrite(true)
                  .build()
                  .run());
    }
    try (StatisticFile written = StatisticFile.open(file)) {
      String labels = written.metadata().map(known -> known.labels()).orElse("");
      return new Entry(file, written.examples(), labels, estimated);
    }
  }

  /** What messages call an estimate of these. */
  public String title() {
    return title(settings.statistics());
  }

  /** What statistics are called in lines for users. */
  public static String title(Set<StatisticKind> statistics) {
    return StatisticKind.anyDependsOnLabels(statistics) ? "Fisher information" : "Gram matrices";
  }

  private String fileName(Subject subject) {
    String key =
        new EstimateInputs(subject.modelSha256(), settings)
            .cacheKey(subject.classifier(), subject.data(), subject.columns(), matching);
    String shown = subject.name().replaceAll("[^\\w.-]", "_");
    return shown.substring(0, Math.min(shown.length(), LONGEST_NAME))
        + "-"
        + settings.rule().text().replace(':', '-')
        + "-"
        + key.substring(0, SHOWN)
        + ".safetensors";
  }
}
