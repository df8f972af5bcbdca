package org.fishermerge.data.hub;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.NavigableSet;
import java.util.TreeSet;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;

/**
 * What a model consists of: {@code config.json}, the weights as {@code model.safetensors} or as
 * {@code model.safetensors.index.json} with the shards it names, and, where there are any, the
 * files of its tokenizer and of its image processor. Never pickles, nor the weights of other
 * frameworks.
 */
final class ModelFiles implements WantedFiles {
  static final String CONFIG = "config.json";

  /** The files of an adapter, its configuration first. */
  static final List<String> ADAPTER =
      List.of("adapter_config.json", "adapter_model.safetensors");

  private static final String WEIGHTS = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";

  private static final List<String> OPTIONAL =
      List.of(
          "preprocessor_config.json",
          "processor_config.json",
          "tokenizer.json",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "vocab.txt");

  private static final List<String> PICKLE_SUFFIXES =
      List.of(".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle");

  @Override
  public List<String> choose(RepositoryFiles files) {
    if (!files.names().contains(CONFIG) && files.names().contains(ADAPTER.getFirst())) {
      throw files.lacks(
          CONFIG, "it is a LoRA adapter: name its base model before it, as BASE+ADAPTER");
    }
    if (!files.names().contains(CONFIG)) {
      throw files.lacks(CONFIG, "it is no model in the format of transformers; check the id");
    }
    List<String> chosen = new ArrayList<>();
    chosen.add(CONFIG);
    OPTIONAL.stream().filter(files.names()::contains).forEach(chosen::add);
    if (files.names().contains(WEIGHTS)) {
      chosen.add(WEIGHTS);
    } else if (files.names().contains(INDEX)) {
      chosen.add(INDEX);
      chosen.addAll(shards(files));
    } else {
      throw noWeights(files);
    }
    return chosen;
  }

  private static NavigableSet<String> shards(RepositoryFiles files) {
    Path index = files.fetch(INDEX);
    JsonNode map;
    try {
      map = Json.MAPPER.readTree(InputFiles.text(index)).path("weight_map");
    } catch (JsonProcessingException e) {
      throw new InputException(index + ": not readable as JSON: " + InputFiles.jsonProblem(e), e);
    }
    TreeSet<String> shards = new TreeSet<>();
    for (JsonNode shard : map) {
      shards.add(shard.asText());
    }
    if (shards.isEmpty()) {
      throw new InputException(index + ": the index has no weight_map, or an empty one");
    }
    for (String shard : shards) {
      if (isPickle(shard)) {
        throw new InputException(
            "%s: weight_map names %s, a pickle, where safetensors files are expected"
                .formatted(index, shard));
      }
      if (!files.names().contains(shard)) {
        throw files.lacks(shard, "its index names that shard; the model is incomplete");
      }
    }
    return shards;
  }

  private static InputException noWeights(RepositoryFiles files) {
    List<String> pickles = files.names().stream().filter(ModelFiles::isPickle).toList();
    if (pickles.isEmpty()) {
      return files.lacks(WEIGHTS, "it holds no weights that can be read; check the id");
    }
    return files.lacks(
        WEIGHTS,
        "its weights are a pickle, %s, which can run code when loaded and is never downloaded."
                .formatted(pickles.getFirst())
            + " Let https://huggingface.co/spaces/safetensors/convert convert it (that opens a pull"
            + " request N, whose result is ID@refs/pr/N), or convert it where you trust it: load it"
            + " with transformers, call save_pretrained(folder, safe_serialization=True), and give"
            + " that folder");
  }

  private static boolean isPickle(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    return PICKLE_SUFFIXES.stream().anyMatch(lower::endsWith);
  }
}
