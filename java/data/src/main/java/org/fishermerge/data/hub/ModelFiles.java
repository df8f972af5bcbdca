package org.fishermerge.data.hub;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.NavigableSet;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.data.files.RepositoryFiles;

/**
 * What a model consists of: {@code config.json}, the weights as {@code model.safetensors} or as
 * {@code model.safetensors.index.json} with the shards it names, and, where there are any, the
 * files of its tokenizer and of its image processor. Never pickles, nor the weights of other
 * frameworks.
 */
final class ModelFiles implements WantedFiles {
  static final String CONFIG = "config.json";

  /** The files of an adapter, its configuration first. */
  static final List<String> ADAPTER = List.of("adapter_config.json", "adapter_model.safetensors");

  private static final String WEIGHTS = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";
  private static final String WEIGHTS_ENDING = ".safetensors";
  private static final String INDEX_ENDING = ".safetensors.index.json";
  private static final Pattern MODEL_NAME =
      Pattern.compile("(adapter_)?model(-\\d+-of-\\d+)?\\.safetensors(\\.index\\.json)?");
  private static final int NAMES_SHOWN = 5;

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
      chosen.addAll(shards(files, INDEX));
    } else {
      throw noWeights(files);
    }
    return chosen;
  }

  /** See {@link WantedFiles#tokenizer}. */
  static List<String> tokenizer(RepositoryFiles files) {
    List<String> chosen = new ArrayList<>();
    Stream.concat(Stream.of(CONFIG), OPTIONAL.stream())
        .filter(files.names()::contains)
        .forEach(chosen::add);
    if (chosen.isEmpty()) {
      throw files.lacks("tokenizer's files", "check the id");
    }
    return chosen;
  }

  /** See {@link WantedFiles#tensors}. */
  static List<String> tensors(RepositoryFiles files) {
    return files.names().contains(CONFIG)
        ? new ModelFiles().choose(files)
        : single(files, files.names().stream().toList());
  }

  /** See {@link WantedFiles#fisher}. */
  static List<String> fisher(RepositoryFiles files) {
    boolean besideModel = files.names().contains(CONFIG);
    return single(
        files,
        files.names().stream()
            .filter(name -> !besideModel || !MODEL_NAME.matcher(name).matches())
            .toList());
  }

  private static List<String> single(RepositoryFiles files, List<String> names) {
    List<String> indexes = names.stream().filter(name -> isTop(name, INDEX_ENDING)).toList();
    List<String> all = names.stream().filter(name -> isTop(name, WEIGHTS_ENDING)).toList();
    if (indexes.size() == 1) {
      List<String> chosen = new ArrayList<>(shards(files, indexes.getFirst()));
      chosen.addFirst(indexes.getFirst());
      return chosen;
    }
    if (all.size() == 1) {
      return all;
    }
    throw files.lacks(
        all.isEmpty() ? "safetensors file of that kind" : "single safetensors file",
        all.isEmpty()
            ? "check the id"
            : "name one of " + NameList.of(all, NAMES_SHOWN) + ", as in OWNER/NAME@main/FILE");
  }

  private static boolean isTop(String name, String ending) {
    return name.endsWith(ending) && name.indexOf('/') < 0;
  }

  private static NavigableSet<String> shards(RepositoryFiles files, String indexName) {
    Path index = files.fetch(indexName);
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
