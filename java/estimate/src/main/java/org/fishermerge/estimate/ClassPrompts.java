package org.fishermerge.estimate;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.NearestNames;
import org.jspecify.annotations.Nullable;

/**
 * The class names of a task and the prompt templates that they fill.
 *
 * <p>Read from JSON of either form: {@code {"classnames": {task: [...]}, "templates": [...] or
 * {task: [...]}}}, or {@code {"tasks": {task: {"classnames": [...], "templates": [...]}}}}. A
 * template holds the placeholder {@code {}} or {@code {c}}.
 */
public record ClassPrompts(String origin, List<String> classNames, List<String> templates) {
  private static final Pattern PLACEHOLDER = Pattern.compile("\\{c?\\}");
  private static final JsonMapper MAPPER =
      JsonMapper.builder(InputFiles.JSON)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /**
   * Parses {@code FILE.json} or {@code FILE.json:task}, or the name of one of {@link
   * #builtInTasks}.
   *
   * @throws InputException if it is none of them
   */
  public static ClassPrompts parse(String source) {
    Path whole = Path.of(source);
    int colon = source.lastIndexOf(':');
    if (Files.exists(whole)) {
      return read(whole, null);
    }
    if (colon < 0) {
      return builtIn(source).orElseThrow(() -> unknown(source));
    }
    return read(Path.of(source.substring(0, colon)), source.substring(colon + 1));
  }

  private static InputException unknown(String source) {
    List<String> known = builtInTasks();
    return new InputException(
        source
            + ": is neither a file nor a built-in list of classes"
            + (source.contains("/") || source.endsWith(".json")
                ? ""
                : NearestNames.of(source, known))
            + "; give FILE.json[:task], or one of "
            + String.join(", ", known));
  }

  /** The prompts of one of the eight tasks that CLIP models are merged for; empty for others. */
  public static Optional<ClassPrompts> builtIn(String task) {
    JsonNode root = BuiltIn.ROOT;
    return root.path("tasks").has(task)
        ? Optional.of(choose(root, "built-in prompts", task))
        : Optional.empty();
  }

  /** Whether the built-in prompts of a task are listed in the order of a data set of the hub. */
  public static boolean builtInFor(String task, String dataset) {
    return BuiltIn.ROOT.path("tasks").path(task).path("dataset").asText("").equals(dataset);
  }

  /** Names of those tasks. */
  public static List<String> builtInTasks() {
    List<String> names = new ArrayList<>();
    BuiltIn.ROOT.path("tasks").fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static final class BuiltIn {
    static final JsonNode ROOT = load();

    private static JsonNode load() {
      try (InputStream in =
          Objects.requireNonNull(ClassPrompts.class.getResourceAsStream("clip_tasks.json"))) {
        return MAPPER.readTree(in);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static ClassPrompts read(Path file, @Nullable String task) {
    return choose(root(file), file.toString(), task);
  }

  /** Names of the tasks in a file. */
  public static List<String> tasksIn(Path file) {
    JsonNode root = root(file);
    List<String> names = new ArrayList<>();
    (root.path("tasks").isObject() ? root.path("tasks") : root.path("classnames"))
        .fieldNames()
        .forEachRemaining(names::add);
    return names;
  }

  private static JsonNode root(Path file) {
    try {
      return MAPPER.readTree(InputFiles.text(file));
    } catch (JsonProcessingException e) {
      throw new InputException(
          file
              + ": not readable as JSON: "
              + InputFiles.jsonProblem(e)
              + "; expected class names and templates of tasks",
          e);
    }
  }

  private static ClassPrompts choose(JsonNode root, String file, @Nullable String task) {
    boolean byTask = root.path("tasks").isObject();
    JsonNode tasks = byTask ? root.path("tasks") : root.path("classnames");
    if (!tasks.isObject() || tasks.isEmpty()) {
      throw new InputException(
          file + ": expected an object \"classnames\" or \"tasks\" with one entry per task");
    }
    List<String> names = new ArrayList<>();
    tasks.fieldNames().forEachRemaining(names::add);
    String chosen = task;
    if (chosen == null) {
      if (names.size() > 1) {
        throw new InputException(
            file
                + ": holds the tasks "
                + names
                + "; choose one, as in "
                + file
                + ":"
                + names.get(0));
      }
      chosen = names.get(0);
    } else if (!tasks.has(chosen)) {
      throw new InputException(file + ": has no task \"" + chosen + "\"; it has " + names);
    }
    JsonNode entry = tasks.path(chosen);
    JsonNode templates = byTask ? entry.path("templates") : root.path("templates");
    String where = file + ":" + chosen;
    List<String> classNames =
        strings(byTask ? entry.path("classnames") : entry, where, "class names");
    List<String> filled =
        strings(templates.isObject() ? templates.path(chosen) : templates, where, "templates");
    for (String template : filled) {
      if (!PLACEHOLDER.matcher(template).find()) {
        throw new InputException(
            where
                + ": the template \""
                + template
                + "\" has no placeholder {} or {c} for the class name");
      }
    }
    return new ClassPrompts(where, classNames, filled);
  }

  private static List<String> strings(JsonNode node, String where, String what) {
    if (!node.isArray()
        || node.isEmpty()
        || !StreamSupport.stream(node.spliterator(), false).allMatch(JsonNode::isTextual)) {
      throw new InputException(where + ": " + what + " must be a non-empty list of strings");
    }
    List<String> strings = new ArrayList<>();
    node.forEach(element -> strings.add(element.textValue()));
    return List.copyOf(strings);
  }

  /** The prompts of one class, in the order of the templates. */
  public List<String> prompts(String className) {
    return templates.stream()
        .map(template ->
            PLACEHOLDER.matcher(template).replaceAll(Matcher.quoteReplacement(className)))
        .toList();
  }
}
