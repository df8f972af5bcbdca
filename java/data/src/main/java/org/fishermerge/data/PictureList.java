package org.fishermerge.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvParser;
import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.data.files.SplitFiles;
import org.jspecify.annotations.Nullable;

/**
 * The pictures of a split and what their labels are written as: those that metadata.csv or
 * metadata.jsonl list, in its order, or where there is no such file all of them, each with the name
 * of its folder. As {@code imagefolder} of Python's {@code datasets} reads it.
 *
 * @param pictures where each is
 * @param labels as many; an empty list if there are none. A {@link Long}, a {@link String}, or null
 *     where there is none.
 */
record PictureList(List<Path> pictures, List<@Nullable Object> labels) {
  private static final String FILE_NAME = "file_name";
  private static final int NAMES_SHOWN = 10;

  /** What pandas takes for an empty cell. */
  private static final Set<String> EMPTY =
      Set.of(
          "",
          "#N/A",
          "#N/A N/A",
          "#NA",
          "-1.#IND",
          "-1.#QNAN",
          "-NaN",
          "-nan",
          "1.#IND",
          "1.#QNAN",
          "<NA>",
          "N/A",
          "NA",
          "NULL",
          "NaN",
          "None",
          "n/a",
          "nan",
          "null");

  /** Reads the metadata, if there is any. */
  static PictureList of(SplitFiles split, Columns columns) {
    List<Path> tables =
        split.files().stream()
            .filter(file -> name(file).matches("metadata\\.(csv|jsonl|parquet)"))
            .toList();
    if (tables.isEmpty()) {
      return ofFolders(split);
    }
    Path first = tables.getFirst();
    for (Path other : tables) {
      if (!name(other).equals(name(first))) {
        throw new InputException(
            "%s and %s: metadata of one data set must be of one kind, metadata.csv or metadata.jsonl"
                .formatted(first, other));
      }
    }
    List<Path> pictures = new ArrayList<>();
    List<@Nullable Object> labels = new ArrayList<>();
    for (Path table : tables) {
      switch (name(table)) {
        case "metadata.csv" -> readCsv(table, columns, pictures, labels);
        case "metadata.jsonl" -> readJson(table, columns, pictures, labels);
        default ->
            throw new InputException(
                table + ": is not read; write it as metadata.csv or metadata.jsonl");
      }
    }
    if (!labels.isEmpty() && labels.size() != pictures.size()) {
      throw new InputException(
          "%s: some of the metadata have a column %s, others have not"
              .formatted(first, columns.of(Columns.LABEL)));
    }
    return new PictureList(pictures, labels);
  }

  private static String name(Path file) {
    return Objects.toString(file.getFileName(), "");
  }

  private static PictureList ofFolders(SplitFiles split) {
    if (split.classes().isEmpty()) {
      return new PictureList(split.files(), List.of());
    }
    List<@Nullable Object> labels = new ArrayList<>();
    for (Path file : split.files()) {
      labels.add(name(Objects.requireNonNull(file.toAbsolutePath().normalize().getParent())));
    }
    return new PictureList(split.files(), labels);
  }

  // ---- metadata.csv ----

  private static void readCsv(
      Path file, Columns columns, List<Path> pictures, List<@Nullable Object> labels) {
    String text = InputFiles.text(file);
    List<String> cells = new ArrayList<>();
    try (MappingIterator<String[]> rows =
        new CsvMapper()
            .readerFor(String[].class)
            .with(CsvParser.Feature.WRAP_AS_ARRAY)
            .with(CsvParser.Feature.SKIP_EMPTY_LINES)
            .readValues(text.startsWith("\uFEFF") ? text.substring(1) : text)) {
      if (!rows.hasNext()) {
        throw new InputException(file + ": is empty; expected a line with the columns' names");
      }
      List<String> header = Arrays.asList(rows.next());
      int nameAt = fileNameAt(file, header, columns);
      int labelAt = labelAt(file, header, columns);
      for (long line = 1; rows.hasNext(); line++) {
        String[] row = rows.next();
        if (row.length > header.size() || row.length <= nameAt) {
          throw new InputException(
              "%s, row %d: has %d cells, where there are %d columns"
                  .formatted(file, line, row.length, header.size()));
        }
        pictures.add(picture(file, line, EMPTY.contains(row[nameAt]) ? null : row[nameAt]));
        if (labelAt >= 0) {
          cells.add(labelAt < row.length ? row[labelAt] : "");
        }
      }
    } catch (IOException | RuntimeException e) {
      if (e instanceof InputException input) {
        throw input;
      }
      String problem =
          e instanceof JsonProcessingException json ? InputFiles.jsonProblem(json) : e.getMessage();
      throw new InputException("%s: not readable as CSV: %s".formatted(file, problem), e);
    }
    labels.addAll(columnOf(cells));
  }

  private static int labelAt(Path file, List<String> header, Columns columns) {
    String label = columns.of(Columns.LABEL);
    int at = header.indexOf(label);
    if (at < 0 && columns.given(Columns.LABEL).isPresent()) {
      throw new InputException(
          "%s: no column %s; the columns are: %s"
              .formatted(file, label, NameList.of(header, NAMES_SHOWN)));
    }
    return at;
  }

  /** {@code image} of datasets is {@code file_name} or {@code image_file_name} in the file. */
  private static int fileNameAt(Path file, List<String> header, Columns columns) {
    String prefixed = columns.of(Columns.IMAGE) + "_" + FILE_NAME;
    int at = columns.given(Columns.IMAGE).isPresent() ? -1 : header.indexOf(FILE_NAME);
    at = at < 0 ? header.indexOf(prefixed) : at;
    if (at < 0) {
      throw new InputException(
          "%s: no column %s, which names each row's picture; the columns are: %s"
              .formatted(file, FILE_NAME, NameList.of(header, NAMES_SHOWN)));
    }
    return at;
  }

  /** A column is of numbers if all of its cells are, and of texts otherwise. */
  private static List<@Nullable Object> columnOf(List<String> cells) {
    List<@Nullable Object> numbers = new ArrayList<>();
    List<@Nullable Object> texts = new ArrayList<>();
    boolean allNumbers = true;
    for (String cell : cells) {
      Long number = number(cell.strip());
      boolean empty = EMPTY.contains(cell);
      allNumbers &= empty || number != null;
      numbers.add(number);
      texts.add(empty ? null : cell);
    }
    return allNumbers ? numbers : texts;
  }

  private static @Nullable Long number(String cell) {
    switch (cell) {
      case "True", "TRUE", "true" -> {
        return 1L;
      }
      case "False", "FALSE", "false" -> {
        return 0L;
      }
      default -> {}
    }
    try {
      double value = Double.parseDouble(cell);
      return value == Math.rint(value) && Math.abs(value) < 1L << 53 && !cell.matches(".*[dDfF]")
          ? (Long) (long) value
          : null;
    } catch (NumberFormatException e) {
      return null;
    }
  }

  // ---- metadata.jsonl ----

  private static void readJson(
      Path file, Columns columns, List<Path> pictures, List<@Nullable Object> labels) {
    String labelKey = columns.of(Columns.LABEL);
    String prefixed = columns.of(Columns.IMAGE) + "_" + FILE_NAME;
    boolean usual = columns.given(Columns.IMAGE).isEmpty();
    List<@Nullable Object> found = new ArrayList<>();
    boolean any = false;
    long line = 0;
    for (String text : (Iterable<String>) InputFiles.text(file).lines()::iterator) {
      line++;
      if (text.isBlank()) {
        continue;
      }
      ObjectNode row = row(file, line, text);
      JsonNode name = usual && row.has(FILE_NAME) ? row.path(FILE_NAME) : row.path(prefixed);
      if (name.isMissingNode()) {
        List<String> keys = new ArrayList<>();
        row.fieldNames().forEachRemaining(keys::add);
        throw new InputException(
            "%s, line %d: no key %s, which names the picture; the keys are: %s"
                .formatted(file, line, FILE_NAME, NameList.of(keys, NAMES_SHOWN)));
      }
      pictures.add(picture(file, line, name.isNull() ? null : name.asText()));
      any |= row.has(labelKey);
      found.add(row.has(labelKey) ? label(file, line, labelKey, row.path(labelKey)) : null);
    }
    if (any) {
      labels.addAll(found);
    } else if (columns.given(Columns.LABEL).isPresent()) {
      throw new InputException("%s: no line has the key %s".formatted(file, labelKey));
    }
  }

  private static ObjectNode row(Path file, long line, String text) {
    try {
      if (Json.MAPPER.readTree(text) instanceof ObjectNode object) {
        return object;
      }
    } catch (JsonProcessingException e) {
      throw new InputException(
          "%s, line %d: not readable as JSON: %s".formatted(file, line, InputFiles.jsonProblem(e)),
          e);
    }
    throw new InputException("%s, line %d: expected a JSON object".formatted(file, line));
  }

  private static @Nullable Object label(Path file, long line, String key, JsonNode value) {
    if (value.isNull()) {
      return null;
    }
    if (value.isBoolean()) {
      return value.booleanValue() ? 1L : 0L;
    }
    if (value.isTextual()) {
      return value.textValue();
    }
    if (value.isNumber() && value.doubleValue() == Math.rint(value.doubleValue())) {
      return value.longValue();
    }
    throw new InputException(
        "%s, line %d: %s is %s, where a number or a name of a class is expected"
            .formatted(file, line, key, value));
  }

  // ---- both ----

  /** Below the metadata's own folder: metadata is written by strangers. */
  private static Path picture(Path metadata, long row, @Nullable String name) {
    String problem = name == null ? "is empty" : "'" + name + "' is no relative path";
    if (name != null && !name.contains("://")) {
      try {
        Path relative = Path.of(name).normalize();
        if (!relative.isAbsolute() && !relative.startsWith("..") && !name.startsWith("/")) {
          return metadata.resolveSibling(relative);
        }
        problem = "'" + name + "' leads out of the metadata's own folder";
      } catch (InvalidPathException e) {
        problem = "'" + name + "' is no path: " + e.getReason();
      }
    }
    throw new InputException("%s, row %d: %s %s".formatted(metadata, row, FILE_NAME, problem));
  }
}
