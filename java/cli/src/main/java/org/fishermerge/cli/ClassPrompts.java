package org.fishermerge.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The class names of a task and the prompt templates that they fill.
 *
 * <p>Read from JSON of either form: {@code {"classnames": {task: [...]}, "templates": [...] or
 * {task: [...]}}}, or {@code {"tasks": {task: {"classnames": [...], "templates": [...]}}}}. A
 * template holds the placeholder {@code {}} or {@code {c}}.
 */
record ClassPrompts(String origin, List<String> classNames, List<String> templates) {
  private static final Pattern PLACEHOLDER = Pattern.compile("\\{c?\\}");
  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .enable(
              StreamReadFeature.STRICT_DUPLICATE_DETECTION,
              StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
          .build();

  /** Parses {@code FILE.json} or {@code FILE.json:task}. */
  static ClassPrompts parse(String source) {
    Path whole = Path.of(source);
    int colon = source.lastIndexOf(':');
    if (Files.exists(whole) || colon < 0) {
      return read(whole, null);
    }
    return read(Path.of(source.substring(0, colon)), source.substring(colon + 1));
  }

  private static ClassPrompts read(Path file, @Nullable String task) {
    JsonNode root;
    try {
      root = MAPPER.readTree(file.toFile());
    } catch (IOException e) {
      throw new InputException(
          file
              + (Files.exists(file) ? ": not readable as JSON: " + reason(e) : ": no such file")
              + "; --classes takes FILE.json or FILE.json:task",
          e);
    }
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

  /** What is wrong and where, in one line. */
  private static String reason(IOException e) {
    return e instanceof JsonProcessingException json && json.getLocation() != null
        ? String.format(
            Locale.ROOT,
            "%s, at line %d, column %d",
            json.getOriginalMessage(),
            json.getLocation().getLineNr(),
            json.getLocation().getColumnNr())
        : String.valueOf(e.getMessage());
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
  List<String> prompts(String className) {
    return templates.stream()
        .map(template ->
            PLACEHOLDER.matcher(template).replaceAll(Matcher.quoteReplacement(className)))
        .toList();
  }
}
