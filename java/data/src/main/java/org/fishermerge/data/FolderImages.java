package org.fishermerge.data;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.SplitFiles;
import org.jspecify.annotations.Nullable;

/** Pictures in files of their own. Labels that are names are numbered in the names' order. */
final class FolderImages extends StoredImages {
  /** Encoded; above that a picture has more pixels than are decoded, whatever its format. */
  private static final int MOST_BYTES = 1 << 30;

  private final List<Path> pictures;
  private final long @Nullable [] labels;
  private final List<String> classes;
  private final boolean byFolder;
  private final String description;

  private FolderImages(
      List<Path> pictures,
      long @Nullable [] labels,
      List<String> classes,
      boolean byFolder,
      String description,
      ImageProcessor processor) {
    super(processor);
    this.pictures = List.copyOf(pictures);
    this.labels = labels;
    this.classes = classes;
    this.byFolder = byFolder;
    this.description = description;
  }

  static FolderImages open(
      List<SplitFiles> splits, String description, Columns columns, ImageProcessor processor) {
    List<Path> pictures = new ArrayList<>();
    List<@Nullable Object> labels = new ArrayList<>();
    for (SplitFiles split : splits) {
      PictureList list = PictureList.of(split, columns);
      pictures.addAll(list.pictures());
      labels.addAll(list.labels());
    }
    if (pictures.isEmpty()) {
      throw new InputException(description + ": the data set has no rows");
    }
    if (!labels.isEmpty() && labels.size() != pictures.size()) {
      throw new InputException(description + ": some of the splits have labels, others have not");
    }
    TreeSet<String> names = new TreeSet<>(splits.getFirst().classes());
    boolean numbers = false;
    for (Object label : labels) {
      if (label instanceof String name) {
        names.add(name);
      }
      numbers |= label instanceof Long;
    }
    if (numbers && !names.isEmpty()) {
      throw new InputException(
          description + ": some labels are numbers, others names; write all of them alike");
    }
    List<String> classes = List.copyOf(names);
    long[] values = labels.isEmpty() ? null : new long[labels.size()];
    for (int i = 0; values != null && i < values.length; i++) {
      values[i] =
          switch (labels.get(i)) {
            case String name -> Collections.binarySearch(classes, name);
            case Long number -> number;
            case null, default -> NO_LABEL;
          };
    }
    return new FolderImages(
        pictures, values, classes, !splits.getFirst().classes().isEmpty(), description, processor);
  }

  static long rows(SplitFiles split, Columns columns) {
    return PictureList.of(split, columns).pictures().size();
  }

  @Override
  public long size() {
    return pictures.size();
  }

  @Override
  public boolean labelled() {
    return labels != null;
  }

  @Override
  public long[] labels() {
    if (labels == null) {
      throw new InputException(
          description
              + ": the pictures have no labels, and this needs labelled examples: a folder for each"
              + " class, or a column label in metadata.csv");
    }
    return labels.clone();
  }

  @Override
  public Optional<List<String>> classNames() {
    return classes.isEmpty() ? Optional.empty() : Optional.of(classes);
  }

  /** Folders of classes are numbered by name, as {@code datasets} has it. */
  @Override
  public boolean labelsAreNames() {
    return !classes.isEmpty() && !byFolder;
  }

  @Override
  public String where(long row) {
    return pictures.get(Math.toIntExact(row)).toString();
  }

  @Override
  public String description() {
    return description;
  }

  /** Files are read as they are decoded; none need be held. */
  @Override
  long windowExamples() {
    return 1;
  }

  @Override
  Window read(long[] indices, BooleanSupplier cancelled) {
    return new Window() {
      @Override
      public void decode(int position, MemorySegment out) {
        Path file = pictures.get(Math.toIntExact(indices[position]));
        try {
          processor.process(bytes(file), out);
        } catch (IOException e) {
          throw new BadRowException(
              indices[position],
              where(indices[position]),
              "cannot read the picture: " + Objects.toString(e.getMessage(), ""),
              e);
        }
      }
    };
  }

  private static byte[] bytes(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new IOException(Files.exists(file) ? "it is no file" : "there is no such file");
    }
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(MOST_BYTES);
      if (bytes.length == MOST_BYTES) {
        throw new IOException("it is longer than any picture");
      }
      return bytes;
    }
  }

  @Override
  public void close() {}
}
