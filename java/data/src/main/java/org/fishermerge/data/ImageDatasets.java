package org.fishermerge.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.jspecify.annotations.Nullable;

/** Opens data sets of pictures. */
public final class ImageDatasets {
  private static final String PARQUET = ".parquet";

  /** {@code train-00000-of-00002.parquet}, with a hash behind in older data sets. */
  private static final Pattern SHARD = Pattern.compile("(.*?)-\\d+-of-\\d+.*");

  /** {@code 0000.parquet}, {@code part-7.parquet}. */
  private static final Pattern NUMBERED = Pattern.compile("(.*?)[-_.]?\\d+");

  private ImageDatasets() {}

  /**
   * Opens what {@code source} names:
   *
   * <ul>
   *   <li>{@code FILE.safetensors} or {@code FILE.safetensors#prefix.}: tensors {@code
   *       <prefix>pixel_values} [N, 3, height, width] of the processor's size and, optionally,
   *       {@code <prefix>labels} [N] (I64 or I32). F32, F16 and BF16 are taken as processed; U8 are
   *       raw RGB pixels that still get rescaled and normalised.
   *   <li>{@code FOLDER} or {@code FOLDER#split}: the {@code *.parquet} files in the folder, or in
   *       its {@code data} folder, by name, with the columns that Hugging Face data sets store:
   *       {@code image}, a struct with the encoded picture in {@code bytes}, and optionally an
   *       integer {@code label}. The split is the file name's part before {@code -00000-of-00002};
   *       it may be left out if there is only one. A single {@code FILE.parquet} is taken too.
   * </ul>
   *
   * @throws InputException if there is no such data, or it is not as described
   */
  public static ImageDataset open(String source, ImageProcessor processor) {
    Path path = path(source);
    if (path == null || !Files.exists(path)) {
      int hash = source.lastIndexOf('#');
      Path folder = hash < 0 ? null : path(source.substring(0, hash));
      if (folder != null && Files.isDirectory(folder)) {
        return openFolder(folder, source.substring(hash + 1), processor);
      }
    } else if (Files.isDirectory(path)) {
      return openFolder(path, null, processor);
    } else if (path.toString().endsWith(PARQUET)) {
      return ParquetImages.open(List.of(path), name(path), processor);
    }
    TensorSelector selector = TensorSelector.parse(source);
    if (!Files.exists(selector.file())) {
      throw new InputException(
          "%s does not exist; data is a .safetensors file or a folder of .parquet files"
              .formatted(selector.file()));
    }
    return SafetensorsImages.open(selector, processor);
  }

  private static @Nullable Path path(String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      return null;
    }
  }

  private static ImageDataset openFolder(
      Path folder, @Nullable String split, ImageProcessor processor) {
    List<Path> files = parquetFiles(folder);
    if (files.isEmpty() && Files.isDirectory(folder.resolve("data"))) {
      files = parquetFiles(folder.resolve("data"));
    }
    if (files.isEmpty()) {
      throw new InputException(
          folder + ": no *.parquet files in it, nor in a data folder inside it");
    }
    TreeMap<String, List<Path>> splits = new TreeMap<>();
    for (Path file : files) {
      splits.computeIfAbsent(split(file), any -> new ArrayList<>()).add(file);
    }
    if (split != null) {
      List<Path> chosen = splits.get(split);
      if (chosen == null) {
        throw new InputException(
            "%s: no split '%s'; there is %s"
                .formatted(folder, split, String.join(", ", splits.keySet())));
      }
      return ParquetImages.open(chosen, name(folder) + "#" + split, processor);
    }
    if (splits.size() > 1) {
      throw new InputException(
          "%s holds several splits (%s); choose one, as in %s#%s"
              .formatted(folder, String.join(", ", splits.keySet()), folder, splits.lastKey()));
    }
    String only = splits.firstKey();
    String description = name(folder) + (only.isEmpty() ? "" : "#" + only);
    return ParquetImages.open(files, description, processor);
  }

  private static List<Path> parquetFiles(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries
          .filter(file -> name(file).endsWith(PARQUET) && Files.isRegularFile(file))
          .sorted(Comparator.comparing(ImageDatasets::name))
          .toList();
    } catch (IOException e) {
      throw new InputException(folder + ": cannot list the folder: " + e.getMessage(), e);
    }
  }

  private static String split(Path file) {
    String name = name(file);
    String base = name.substring(0, name.length() - PARQUET.length());
    for (Pattern pattern : List.of(SHARD, NUMBERED)) {
      Matcher matcher = pattern.matcher(base);
      if (matcher.matches()) {
        return matcher.group(1);
      }
    }
    return base;
  }

  private static String name(Path path) {
    // A root has no name; "." says little.
    Path name = path.toAbsolutePath().normalize().getFileName();
    return name == null ? path.toString() : name.toString();
  }
}
