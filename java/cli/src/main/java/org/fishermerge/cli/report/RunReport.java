package org.fishermerge.cli.report;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonValue;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.fishermerge.merge.Similarity;
import org.fishermerge.merge.SimilarityMatrix;
import org.fishermerge.merge.SimilarityMetric;
import org.jspecify.annotations.Nullable;

/**
 * What a command did and found, as terminal, JSON and HTML show it. Parts that a command has
 * nothing to say of are null or empty. The JSON has these names in snake case; {@code
 * docs/report.md} and the JSON schema beside this class describe them. Fractions are in 0..1, times
 * in seconds, sizes in bytes.
 *
 * @param schema version of this structure; grows when a reader of older ones could misread it
 * @param command whose report this is, such as {@code demo}
 * @param models that were merged, compared or measured; the base first
 * @param merges what was written, usually one
 * @param shares what each model had to say where, of one merge each
 * @param stages in the order of their starts
 */
public record RunReport(
    @JsonProperty(required = true) int schema,
    @JsonProperty(required = true) String command,
    @JsonProperty(required = true) Origin origin,
    List<Model> models,
    List<Merge> merges,
    @Nullable Accuracies accuracies,
    List<Shares> shares,
    @Nullable FisherSizes fishers,
    @Nullable Similarities similarity,
    @Nullable Search search,
    List<Stage> stages,
    List<String> warnings) {
  /** The version that this class writes. */
  public static final int SCHEMA = 1;

  /** Absent lists are empty ones. */
  public RunReport {
    models = copy(models);
    merges = copy(merges);
    shares = copy(shares);
    stages = copy(stages);
    warnings = copy(warnings);
  }

  private static <T> List<T> copy(@Nullable List<T> list) {
    return list == null ? List.of() : whole(list);
  }

  private static <T> List<T> whole(List<T> list) {
    for (Object item : list) {
      if (item == null) {
        throw new IllegalArgumentException("null where an item of a list is expected");
      }
    }
    return List.copyOf(list);
  }

  /**
   * Where a report comes from.
   *
   * @param tool name and version
   * @param java its version
   * @param started ISO 8601, in UTC
   * @param line the command line that repeats it, word by word, without the program's name
   */
  public record Origin(
      @JsonProperty(required = true) String tool,
      @Nullable String java,
      @Nullable String started,
      @Nullable Double seconds,
      @Nullable Long seed,
      @Nullable List<String> line) {
    /** Copies the list. */
    public Origin {
      line = copy(line);
    }
  }

  /**
   * A model.
   *
   * @param base whether the others are merged onto it
   * @param id on the hub, or as the configuration names it
   * @param path on the machine of the run
   * @param sha256 of its weights
   * @param weight coefficient times normalisation, adding up to 1 over the models
   * @param norm L2 norm of the mean Fisher
   * @param below share of the merged values whose Fisher is under the floor (minimal-fisher)
   */
  public record Model(
      @JsonProperty(required = true) String name,
      @JsonProperty(required = true) boolean base,
      @Nullable String id,
      @Nullable String path,
      @Nullable String sha256,
      @Nullable Double coefficient,
      @Nullable Double weight,
      @Nullable Double norm,
      @Nullable Double below,
      @Nullable Statistic statistic) {}

  /**
   * Statistics of a model.
   *
   * @param labels how labels are averaged over
   * @param samplingError relative standard error that comes from the choice of examples
   */
  public record Statistic(
      @Nullable String file,
      @Nullable Long examples,
      @Nullable String labels,
      @Nullable String data,
      @Nullable String selection,
      @Nullable Double samplingError) {}

  /**
   * A merge that was written.
   *
   * @param settings of the rule, for a reader
   * @param parameters merged
   * @param residual of a rule by layer, of its worst layer
   */
  public record Merge(
      @JsonProperty(required = true) String rule,
      @Nullable String settings,
      @Nullable String output,
      @Nullable Long parameters,
      @Nullable Long bytesRead,
      @Nullable Long bytesWritten,
      @Nullable Double seconds,
      @Nullable Double residual) {}

  /**
   * Accuracies by task.
   *
   * @param tasks in the order of the measures of each row
   */
  public record Accuracies(
      @JsonProperty(required = true) List<String> tasks,
      @JsonProperty(required = true) List<Row> rows) {
    /** Copies the lists. */
    public Accuracies {
      tasks = copy(tasks);
      rows = copy(rows);
    }
  }

  /** What a row of accuracies is of. */
  public enum Role {
    /** The model that the others were fine-tuned from. */
    BASE,
    /** Each task's own model. */
    OWN,
    /** The plain average, with which merges are compared. */
    AVERAGE,
    /** The merge that the report is of. */
    THIS,
    /** Another one. */
    OTHER;

    /** As JSON has it. */
    @JsonValue
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * One model, or one merge, on all tasks.
   *
   * @param measures one for each task
   * @param mean over the tasks
   * @param differences to the row of the average, one for each task; empty where there is none
   */
  public record Row(
      @JsonProperty(required = true) String name,
      @JsonProperty(required = true) Role role,
      @JsonProperty(required = true) List<Measure> measures,
      @Nullable Measure mean,
      @Nullable List<Interval> differences,
      @Nullable Interval meanDifference) {
    /** Copies the lists. */
    public Row {
      measures = copy(measures);
      differences = copy(differences);
    }
  }

  /**
   * A measured accuracy.
   *
   * @param interval of 95 %; null where the number of examples is not known
   */
  public record Measure(
      @JsonProperty(required = true) double accuracy,
      @Nullable Interval interval,
      @Nullable Long correct,
      @Nullable Long examples,
      @Nullable Double loss) {}

  /** A 95 % interval around a value. */
  public record Interval(
      @JsonProperty(required = true) double value,
      @JsonProperty(required = true) double low,
      @JsonProperty(required = true) double high) {}

  /**
   * What each model had to say in a merge, as {@link org.fishermerge.merge.TensorShares} defines
   * it, by layer and kind of parameter.
   *
   * @param merge which one
   * @param models in the order of the shares
   */
  public record Shares(
      @JsonProperty(required = true) String merge,
      @JsonProperty(required = true) List<String> models,
      @JsonProperty(required = true) List<ShareCell> cells) {
    /** Copies the lists. */
    public Shares {
      models = copy(models);
      cells = copy(cells);
    }
  }

  /**
   * Parameters of one kind in one layer.
   *
   * @param kind the rest of their names, without weight and bias; {@code other} where nothing is
   *     left
   * @param values how many
   * @param shares one for each model; null where it is no finite number
   */
  public record ShareCell(
      @JsonProperty(required = true) String layer,
      @JsonProperty(required = true) String kind,
      @JsonProperty(required = true) long values,
      @JsonProperty(required = true) List<@Nullable Double> shares) {}

  /** Root mean squares of Fishers by layer. */
  public record FisherSizes(
      @JsonProperty(required = true) List<String> tasks,
      @JsonProperty(required = true) List<FisherLayer> layers) {
    /** Copies the lists. */
    public FisherSizes {
      tasks = copy(tasks);
      layers = copy(layers);
    }
  }

  /**
   * A layer's Fishers.
   *
   * @param rms root of the mean square of its mean Fisher, for each task; null where it is no
   *     finite number
   */
  public record FisherLayer(
      @JsonProperty(required = true) String layer,
      @JsonProperty(required = true) long values,
      @JsonProperty(required = true) List<@Nullable Double> rms) {}

  /**
   * How alike Fishers are.
   *
   * @param overlap a row and a column for each task; null where a Fisher is zero
   * @param cosine likewise
   */
  public record Similarities(
      @JsonProperty(required = true) List<String> tasks,
      @JsonProperty(required = true) List<List<@Nullable Double>> overlap,
      @JsonProperty(required = true) List<List<@Nullable Double>> cosine) {
    /** Copies the lists. */
    public Similarities {
      tasks = copy(tasks);
      overlap = copy(overlap);
      cosine = copy(cosine);
    }

    /** Of the whole model. */
    public static Similarities of(Similarity similarity, List<String> tasks) {
      return new Similarities(
          tasks,
          matrix(similarity.model(), SimilarityMetric.OVERLAP, tasks.size()),
          matrix(similarity.model(), SimilarityMetric.COSINE, tasks.size()));
    }

    private static List<List<@Nullable Double>> matrix(
        SimilarityMatrix of, SimilarityMetric metric, int size) {
      List<List<@Nullable Double>> rows = new ArrayList<>();
      for (int p = 0; p < size; p++) {
        List<@Nullable Double> row = new ArrayList<>();
        for (int q = 0; q < size; q++) {
          double value = of.get(metric, p, q);
          row.add(Double.isNaN(value) ? null : value);
        }
        rows.add(row);
      }
      return rows;
    }
  }

  /**
   * A search.
   *
   * @param measure {@code accuracy}, of which more is better, or {@code kl}, nats, of which less is
   * @param coefficients what the numbers of each try belong to
   * @param best which of the tries, from 0
   */
  public record Search(
      @JsonProperty(required = true) String measure,
      List<String> coefficients,
      List<Try> tries,
      @JsonProperty(required = true) int best,
      @Nullable Check check) {
    /** Copies the lists. */
    public Search {
      coefficients = copy(coefficients);
      tries = copy(tries);
    }
  }

  /**
   * One try.
   *
   * @param merge what was merged, where that differs from try to try
   * @param value what the search looks at; null where it is infinite
   */
  public record Try(
      @Nullable String merge,
      @Nullable Double scale,
      @Nullable List<@Nullable Double> coefficients,
      @Nullable Double value,
      @Nullable Double loss) {}

  /**
   * What was found, on examples that the search did not see.
   *
   * @param columns what was measured, such as {@code equal} and {@code found}
   */
  public record Check(
      @JsonProperty(required = true) List<String> columns,
      @JsonProperty(required = true) List<CheckRow> rows) {
    /** Copies the lists. */
    public Check {
      columns = copy(columns);
      rows = copy(rows);
    }
  }

  /** Of one task; as many values as there are columns. */
  public record CheckRow(
      @JsonProperty(required = true) String task,
      @Nullable Long examples,
      @JsonProperty(required = true) List<@Nullable Double> values) {}

  /**
   * A part of the work.
   *
   * @param bytesRead of inputs, over all passes, wherever they were
   * @param bytesFromDisk what Linux fetched from storage meanwhile
   * @param plainRate bytes a second of reading some of the inputs once more, without merging
   * @param peakBytes the most memory of the process that no file backs
   * @param plannedBytes the same as it was planned
   */
  public record Stage(
      @JsonProperty(required = true) String name,
      @JsonProperty(required = true) double seconds,
      @Nullable Long bytesRead,
      @Nullable Long bytesWritten,
      @Nullable Long bytesFromDisk,
      @Nullable Double plainRate,
      @Nullable Long peakBytes,
      @Nullable Long plannedBytes) {}
}
