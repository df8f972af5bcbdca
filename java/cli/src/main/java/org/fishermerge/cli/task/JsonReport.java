package org.fishermerge.cli.task;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.Accuracy;

/** The JSON files that commands write: indented, and ended by a line break. */
public final class JsonReport {
  private JsonReport() {}

  /** Made when the first text is: a page is written without it. */
  private static final class Mapper {
    static final JsonMapper INSTANCE = new JsonMapper();
  }

  /** An object without members. */
  public static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  /** Adds {@code accuracy_95}, the two ends of the accuracy's 95 % interval. */
  public static void addInterval(Accuracy accuracy, ObjectNode into) {
    into.putArray("accuracy_95").add(accuracy.interval().low()).add(accuracy.interval().high());
  }

  /** The text of the file. */
  public static String text(ObjectNode json) {
    try {
      return Mapper.INSTANCE.writerWithDefaultPrettyPrinter().writeValueAsString(json) + "\n";
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of numbers and texts", e);
    }
  }

  /**
   * Writes the file and puts it in its place.
   *
   * @throws InputException naming the file, if the disk reports an error
   */
  public static void publish(ObjectNode json, AtomicOutput output) {
    output.write(text(json));
    output.commit();
  }
}
