package org.fishermerge.data;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.ModelFolder;
import org.fishermerge.checkpoint.Reasons;

/**
 * The tokenizer files of a model folder, and the Hugging Face tokenizers library that runs them.
 */
final class TokenizerFiles {
  static final String VOCABULARY = "vocab.json";
  static final String MERGES = "merges.txt";

  private static final String WHOLE = "tokenizer.json";

  private TokenizerFiles() {}

  /**
   * What tokenizer.json holds, without its padding and truncation; in the older layout, with
   * vocab.json and merges.txt, what {@code older} makes of the folder.
   *
   * @param advice what to do if there is neither, for the message
   * @throws InputException if there is neither
   */
  static ObjectNode definition(Path folder, String advice, Function<Path, ObjectNode> older) {
    Optional<Path> whole = file(folder, WHOLE);
    ObjectNode definition;
    if (whole.isPresent()) {
      definition = Json.object(whole.get());
    } else if (file(folder, VOCABULARY).isPresent() && file(folder, MERGES).isPresent()) {
      definition = older.apply(folder);
    } else {
      throw new InputException(
          folder
              + ": no tokenizer: neither tokenizer.json nor vocab.json with merges.txt"
              + advice);
    }
    definition.putNull("padding");
    definition.putNull("truncation");
    return definition;
  }

  /**
   * A file of the folder, if it is there.
   *
   * @throws InputException if it is no regular file, or a link that leads out of the folder
   */
  static Optional<Path> file(Path folder, String name) {
    return new ModelFolder(folder).find(name);
  }

  /** Runs a definition; texts are cut to {@code maxLength} tokens, the longer of a pair first. */
  static HuggingFaceTokenizer tokenizer(Path folder, ObjectNode definition, int maxLength) {
    // The library would otherwise look for CUDA builds of itself on the network.
    if (System.getProperty("ai.djl.offline") == null) {
      System.setProperty("ai.djl.offline", "true");
    }
    try {
      return HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(Json.MAPPER.writeValueAsBytes(definition)),
          Map.of(
              "addSpecialTokens", "true",
              "padding", "false",
              "truncation", "true",
              "maxLength", Integer.toString(maxLength)));
    } catch (IOException | RuntimeException e) {
      throw new InputException(folder + ": not a usable tokenizer: " + Reasons.of(e), e);
    }
  }

  /** Adds a token that is never split. */
  static void addSpecial(ArrayNode added, String token, long id) {
    added
        .addObject()
        .put("id", id)
        .put("content", token)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", true);
  }

  /** The pairs of a merges.txt, in order. */
  static void readMerges(Path file, ArrayNode merges) {
    int line = 0;
    for (String pair : (Iterable<String>) InputFiles.text(file).lines()::iterator) {
      line++;
      if (pair.isBlank() || (line == 1 && pair.startsWith("#version"))) {
        continue;
      }
      int space = pair.indexOf(' ');
      if (space <= 0 || space == pair.length() - 1 || pair.indexOf(' ', space + 1) >= 0) {
        throw new InputException(
            "%s: line %d is \"%s\"; expected two symbols with a space between them"
                .formatted(file, line, pair));
      }
      merges.addArray().add(pair.substring(0, space)).add(pair.substring(space + 1));
    }
  }

  /** The id of a token. */
  static long id(Path file, JsonNode vocabulary, String token) {
    JsonNode id = vocabulary.get(token);
    if (id == null || !id.isIntegralNumber()) {
      throw new InputException("%s: the vocabulary has no token %s".formatted(file, token));
    }
    return id.longValue();
  }
}
