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
import org.fishermerge.checkpoint.InputException;

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
      return MAPPER.treeToValue(json, RunReport.class);
    } catch (JsonProcessingException | IllegalArgumentException | NullPointerException e) {
      throw new InputException(
          name + ": is no report that fisher-merge wrote; see docs/report.md for what one holds",
          e);
    }
  }
}
