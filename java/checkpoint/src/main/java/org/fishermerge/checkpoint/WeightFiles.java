package org.fishermerge.checkpoint;

import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The safetensors files of a model, found and with their headers validated: {@code
 * model.safetensors}, or else {@code model.safetensors.index.json} with its shards, or one file
 * that the user named.
 *
 * @param folder where its settings lie
 * @param headers one per shard, in order of the shards' names
 * @param warnings what is odd about them, complete sentences for users
 */
record WeightFiles(ModelFolder folder, List<SafetensorsHeader> headers, List<String> warnings) {
  static final String SINGLE_FILE = "model.safetensors";
  static final String INDEX_FILE = "model.safetensors.index.json";

  private static final Pattern SHARD_NAME = Pattern.compile("model-\\d+-of-\\d+\\.safetensors");

  WeightFiles {
    headers = List.copyOf(headers);
    warnings = List.copyOf(warnings);
  }

  /** The same and one file more. */
  WeightFiles with(SafetensorsHeader header) {
    return new WeightFiles(
        folder, Stream.concat(headers.stream(), Stream.of(header)).toList(), warnings);
  }

  /** As {@link Checkpoint#open}. */
  static WeightFiles find(Path folderOrFile) {
    if (!Files.exists(folderOrFile)) {
      throw Messages.missing(folderOrFile, null);
    }
    if (!Files.isDirectory(folderOrFile)) {
      Path parent = Objects.requireNonNullElse(folderOrFile.getParent(), Path.of(""));
      return new WeightFiles(
          new ModelFolder(parent), List.of(SafetensorsHeader.read(folderOrFile)), List.of());
    }
    ModelFolder folder = new ModelFolder(folderOrFile);
    Optional<Path> single = folder.find(SINGLE_FILE);
    if (single.isPresent()) {
      // As transformers does when both are there.
      return new WeightFiles(folder, List.of(SafetensorsHeader.read(single.get())), List.of());
    }
    Optional<Path> index = folder.find(INDEX_FILE);
    if (index.isPresent()) {
      return shards(folder, ShardIndex.read(index.get()));
    }
    throw FolderKind.refusal(folderOrFile, folder.names());
  }

  private static WeightFiles shards(ModelFolder folder, ShardIndex index) {
    List<SafetensorsHeader> files = new ArrayList<>();
    Map<String, String> shardOf = new HashMap<>();
    long totalSize = 0;
    for (String shard : index.shards()) {
      Path file =
          folder
              .find(shard)
              .orElseThrow(() ->
                  new InputException(
                      index.file()
                          + ": names the shard "
                          + Messages.quote(shard)
                          + ", which is not in the folder; download it too"));
      SafetensorsHeader header = SafetensorsHeader.read(file);
      for (TensorInfo tensor : header.tensors().values()) {
        checkPlace(index, shard, tensor.name(), shardOf.put(tensor.name(), shard));
        totalSize += tensor.byteCount();
      }
      files.add(header);
    }
    index
        .weightMap()
        .forEach((tensor, shard) -> {
          if (!shardOf.containsKey(tensor)) {
            throw new InputException(
                index.file()
                    + ": puts the tensor "
                    + Messages.quote(tensor)
                    + " into "
                    + Messages.quote(shard)
                    + ", which does not hold it; index and shards do not belong together,"
                    + " download all of them again");
          }
        });
    return new WeightFiles(folder, files, warnings(folder, index, totalSize));
  }

  private static void checkPlace(
      ShardIndex index, String shard, String tensor, @Nullable String before) {
    if (before != null) {
      throw new InputException(
          index.file()
              + ": the tensor "
              + Messages.quote(tensor)
              + " is in two shards, "
              + Messages.quote(before)
              + " and "
              + Messages.quote(shard));
    }
    String expected = index.weightMap().get(tensor);
    if (!shard.equals(expected)) {
      throw new InputException(
          index.file()
              + ": the tensor "
              + Messages.quote(tensor)
              + " is in the shard "
              + Messages.quote(shard)
              + ", but the index "
              + (expected == null ? "does not list it" : "puts it into " + Messages.quote(expected))
              + "; index and shards do not belong together, download all of them again");
    }
  }

  private static List<String> warnings(ModelFolder folder, ShardIndex index, long totalSize) {
    List<String> warnings = new ArrayList<>();
    if (index.totalSize() != null && !isNumber(index.totalSize(), totalSize)) {
      warnings.add(
          index.file()
              + ": total_size is "
              + Messages.firstLine(index.totalSize())
              + ", the shards hold "
              + totalSize
              + " bytes");
    }
    Set<String> strays = new TreeSet<>(folder.names());
    strays.removeIf(name -> !SHARD_NAME.matcher(name).matches());
    strays.removeAll(index.shards());
    for (String stray : strays) {
      warnings.add(index.file() + ": does not list the shard " + stray + ", which is left out");
    }
    return warnings;
  }

  /** Some writers give the size as a floating-point number. */
  private static boolean isNumber(String text, long value) {
    try {
      return new BigDecimal(text).compareTo(BigDecimal.valueOf(value)) == 0;
    } catch (NumberFormatException e) {
      return false;
    }
  }
}
