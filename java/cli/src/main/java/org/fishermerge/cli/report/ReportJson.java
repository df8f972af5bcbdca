package org.fishermerge.cli.report;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.FisherLayer;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.ShareCell;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.jspecify.annotations.Nullable;

/**
 * A report as JSON. Files of commands have keys of their own, which came first and stay; the report
 * is in all of them under {@code fisher_merge.report}.
 */
public final class ReportJson {
  /** Our own key in files that follow other programs. */
  public static final String OWN = "fisher_merge";

  static final String REPORT = "report";

  /** What a newer version adds is passed over. */
  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(
                  JsonInclude.Include.NON_EMPTY, JsonInclude.Include.ALWAYS))
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
          .build();

  private ReportJson() {}

  /** The report alone. */
  static ObjectNode of(RunReport report) {
    ObjectNode json = MAPPER.valueToTree(report);
    removeNonFinite(json);
    return json;
  }

  /** JSON has no infinity, and no number that is none. */
  private static void removeNonFinite(JsonNode node) {
    if (node instanceof ObjectNode object) {
      object.properties().removeIf(field -> isNonFinite(field.getValue()));
    } else if (node instanceof ArrayNode array) {
      for (int i = 0; i < array.size(); i++) {
        if (isNonFinite(array.get(i))) {
          array.setNull(i);
        }
      }
    }
    node.forEach(ReportJson::removeNonFinite);
  }

  private static boolean isNonFinite(JsonNode node) {
    return node.isFloatingPointNumber() && !Double.isFinite(node.doubleValue());
  }

  /** Puts the report into a command's file. */
  public static ObjectNode addTo(ObjectNode file, RunReport report) {
    file.withObject("/" + OWN).set(REPORT, of(report));
    return file;
  }

  /**
   * Reads a report that {@link #of} wrote, in this version or another.
   *
   * @param name of the file, for messages
   */
  static RunReport read(JsonNode json, String name) {
    int schema = json.path("schema").asInt(0);
    if (schema > RunReport.SCHEMA) {
      throw new InputException(
          name
              + ": its report has schema "
              + schema
              + ", which a newer fisher-merge wrote; this one reads schemas up to "
              + RunReport.SCHEMA);
    }
    try {
      JsonNode stated = json.deepCopy();
      removeNulls(stated);
      RunReport report = MAPPER.treeToValue(stated, RunReport.class);
      requireWhole(report);
      return report;
    } catch (JsonProcessingException e) {
      throw refused(name, e.getOriginalMessage().replaceAll(" \\(index \\d+\\)", ""), e);
    } catch (IllegalArgumentException e) {
      throw refused(name, String.valueOf(e.getMessage()), e);
    }
  }

  /** What others write as null is not there; in lists it is the number that JSON does not have. */
  private static void removeNulls(JsonNode node) {
    if (node instanceof ObjectNode object) {
      object.properties().removeIf(field -> field.getValue().isNull());
    }
    node.forEach(ReportJson::removeNulls);
  }

  private static InputException refused(String name, String why, Exception cause) {
    return new InputException(
        name
            + ": "
            + OWN
            + "."
            + REPORT
            + " is none that fisher-merge wrote: "
            + why
            + "; docs/report.md says what one holds",
        cause);
  }

  /** What the types do not say. */
  private static void requireWhole(RunReport report) {
    Accuracies accuracies = report.accuracies();
    if (accuracies != null) {
      int tasks = accuracies.tasks().size();
      for (Row row : accuracies.rows()) {
        require(row.measures().size() == tasks, "a measure for each task", row.name());
      }
    }
    for (Shares shares : report.shares()) {
      for (ShareCell cell : shares.cells()) {
        require(
            cell.shares().size() == shares.models().size(), "a share for each model", cell.layer());
      }
    }
    FisherSizes fishers = report.fishers();
    if (fishers != null) {
      for (FisherLayer layer : fishers.layers()) {
        require(
            layer.rms().size() == fishers.tasks().size(), "a number for each task", layer.layer());
      }
    }
    Similarities similarity = report.similarity();
    if (similarity != null) {
      int tasks = similarity.tasks().size();
      for (List<List<@Nullable Double>> matrix :
          List.of(similarity.overlap(), similarity.cosine())) {
        require(
            matrix.size() == tasks && matrix.stream().allMatch(row -> row.size() == tasks),
            "a row and a column for each task",
            "the similarity");
      }
    }
    Search search = report.search();
    if (search != null && !search.tries().isEmpty()) {
      require(
          search.best() >= 0 && search.best() < search.tries().size(),
          "the number of a try as the best",
          "the search");
    }
  }

  private static void require(boolean holds, String what, String where) {
    if (!holds) {
      throw new IllegalArgumentException("expected " + what + " in " + where);
    }
  }
}
