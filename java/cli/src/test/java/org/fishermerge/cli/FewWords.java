package org.fishermerge.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.estimate.ClassPrompts;
import org.fishermerge.testkit.Golden;

/**
 * The tiny CLIP model with that part of CLIP's 49,408 tokens that some prompts use: it gives the
 * same heads, and opening its tokenizer takes no time. Tests that are about something else take it.
 */
final class FewWords {
  /** Each byte, within a word and at its end. */
  private static final int BYTE_TOKENS = 512;

  private static final String WORD_END = "</w>";
  private static final String START = "<|startoftext|>";
  private static final String END = "<|endoftext|>";
  private static final String EMBEDDING = "text_model.embeddings.token_embedding.weight";
  private static final JsonMapper MAPPER = new JsonMapper();

  private FewWords() {}

  /** The model for the tasks of clip-tiny/tasks.json; goes with the golden files. */
  static synchronized Path pretrained() {
    Path folder = Golden.path("clip-tiny").resolveSibling("few-words");
    if (!Files.exists(folder)) {
      Path tasks = Golden.path("clip-tiny/tasks.json");
      try {
        write(
            folder,
            ClassPrompts.tasksIn(tasks).stream()
                .map(task -> ClassPrompts.parse(tasks + ":" + task))
                .toList());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return folder;
  }

  /** Writes the folder of the model for other heads. */
  static Path write(Path folder, List<ClassPrompts> heads) throws IOException {
    Set<String> words = new TreeSet<>();
    for (ClassPrompts head : heads) {
      for (String name : head.classNames()) {
        for (String prompt : head.prompts(name)) {
          words.addAll(List.of(prompt.toLowerCase(Locale.ROOT).split(" ", -1)));
        }
      }
    }
    String text = String.join(" ", words);
    if (text.chars().anyMatch(c -> c > 0x7e)) {
      throw new IllegalArgumentException("bytes of other characters have names of their own");
    }
    Path from = Golden.path("clip-tiny/pretrained");
    Files.createDirectories(folder);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(String.valueOf(file.getFileName())));
      }
    }

    ObjectNode tokenizer = (ObjectNode) MAPPER.readTree(from.resolve("tokenizer.json").toFile());
    JsonNode vocabulary = tokenizer.at("/model/vocab");
    int start = vocabulary.path(START).intValue();
    Map<Integer, String> kept = new TreeMap<>(); // by the id in the whole vocabulary
    vocabulary
        .properties()
        .forEach(entry -> {
          int id = entry.getValue().intValue();
          if (id < BYTE_TOKENS || id >= start) {
            kept.put(id, entry.getKey());
          }
        });
    // A merge makes a part of a word: one that makes no part of the texts is never applied.
    ArrayNode merges = MAPPER.createArrayNode();
    StringBuilder lines = new StringBuilder("#version: 0.2\n");
    for (JsonNode merge : tokenizer.at("/model/merges")) {
      String left = merge.path(0).textValue();
      String right = merge.path(1).textValue();
      if (text.contains((left + right).replace(WORD_END, ""))) {
        merges.add(merge);
        lines.append(left).append(' ').append(right).append('\n');
        kept.put(vocabulary.path(left + right).intValue(), left + right);
      }
    }
    ObjectNode ids = MAPPER.createObjectNode();
    kept.values().forEach(token -> ids.put(token, ids.size()));
    ((ObjectNode) tokenizer.path("model")).<ObjectNode>set("vocab", ids).set("merges", merges);
    tokenizer.path("added_tokens").forEach(token -> renumber(token, ids));
    for (String frame : List.of("sep", "cls")) {
      ArrayNode pair = (ArrayNode) tokenizer.path("post_processor").path(frame);
      pair.set(1, ids.path(pair.path(0).textValue()));
    }
    MAPPER.writeValue(folder.resolve("tokenizer.json").toFile(), tokenizer);
    MAPPER.writeValue(folder.resolve("vocab.json").toFile(), ids);
    Files.writeString(folder.resolve("merges.txt"), lines);

    String config = Files.readString(from.resolve("config.json"));
    Files.writeString(
        folder.resolve("config.json"),
        config
            .replace(": " + vocabulary.size(), ": " + ids.size())
            .replace(": " + start, ": " + ids.path(START))
            .replace(": " + vocabulary.path(END), ": " + ids.path(END)));

    Map<String, Tensor> tensors = new TreeMap<>(TestTensors.read(from).tensors());
    Tensor all = TestTensors.read(from).get(EMBEDDING);
    tensors.put(
        EMBEDDING, Tensor.concat(kept.keySet().stream().map(id -> all.rows(id, id + 1)).toList()));
    TestTensors.write(folder.resolve("model.safetensors"), tensors);
    return folder;
  }

  private static void renumber(JsonNode token, ObjectNode ids) {
    ((ObjectNode) token).set("id", ids.path(token.path("content").textValue()));
  }
}
