package org.fishermerge.data.files;

import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What files hold by the endings of their names, as Python's {@code datasets} (5.0.1) tells it.
 *
 * @param module the name that {@code datasets} has for files of the kind
 * @param format how they are read; empty for those that are not
 */
record FileKind(String module, Optional<SplitFiles.Format> format) {
  /** A shard's name, {@code train-00000-of-00002}, with anything behind it. */
  static final Pattern SHARD = Pattern.compile("(.+?)-(\\d{1,9})-of-(\\d{1,9})(.*)");

  private static final Set<String> PARQUET = Set.of(".parquet", ".geoparquet", ".gpq");

  private static final Set<String> PICTURES =
      Set.of(
          ".blp .bmp .dib .bufr .cur .pcx .dcx .dds .ps .eps .fit .fits .fli .flc .ftc .ftu .gbr"
              .split(" "));

  private static final Set<String> MORE_PICTURES =
      Set.of(
          (".gif .grib .png .apng .jp2 .j2k .jpc .jpf .jpx .j2c .icns .ico .im .iim .tif .tiff .jfif"
                  + " .jpe .jpg .jpeg .mpg .mpeg .msp .pcd .pxr .pbm .pgm .ppm .pnm .psd .bw .rgb"
                  + " .rgba .sgi .ras .tga .icb .vda .vst .webp .wmf .emf .xbm .xpm")
              .split(" "));

  private static final Map<String, String> OTHERS =
      Map.ofEntries(
          Map.entry(".csv", "csv"),
          Map.entry(".tsv", "csv"),
          Map.entry(".json", "json"),
          Map.entry(".jsonl", "json"),
          Map.entry(".ndjson", "json"),
          Map.entry(".txt", "text"),
          Map.entry(".conll", "conll"),
          Map.entry(".conllu", "conll"),
          Map.entry(".tar", "webdataset"),
          Map.entry(".xml", "xml"),
          Map.entry(".hdf5", "hdf5"),
          Map.entry(".h5", "hdf5"),
          Map.entry(".eval", "eval"),
          Map.entry(".lance", "lance"),
          Map.entry(".zip", "zip"));

  /** Of a folder of pictures; labels and the like. */
  private static final Set<String> METADATA =
      Set.of("metadata.csv", "metadata.jsonl", "metadata.parquet");

  private static final List<String> FAVOURITES =
      List.of(".csv", ".json", ".jsonl", ".arrow", ".lance", ".parquet");

  static boolean isMetadata(String name) {
    return METADATA.contains(baseName(name));
  }

  static boolean isPicture(String name) {
    String ending = ending(baseName(name)).toLowerCase(Locale.ROOT);
    return PICTURES.contains(ending) || MORE_PICTURES.contains(ending);
  }

  /** Whether a file of that name counts as data at all: one of its endings is known. */
  static boolean isData(String name) {
    return endings(name).anyMatch(ending -> of(ending).isPresent());
  }

  /** Upper case is understood of pictures alone. */
  private static Optional<FileKind> of(String ending) {
    if (PARQUET.contains(ending)) {
      return Optional.of(new FileKind("parquet", Optional.of(SplitFiles.Format.PARQUET)));
    }
    if (ending.equals(".arrow")) {
      return Optional.of(new FileKind("arrow", Optional.of(SplitFiles.Format.ARROW)));
    }
    String lower = ending.toLowerCase(Locale.ROOT);
    boolean oneCase = ending.equals(lower) || ending.equals(ending.toUpperCase(Locale.ROOT));
    if (oneCase && (PICTURES.contains(lower) || MORE_PICTURES.contains(lower))) {
      return Optional.of(new FileKind("imagefolder", Optional.of(SplitFiles.Format.PICTURES)));
    }
    return Optional.ofNullable(OTHERS.get(ending))
        .map(module -> new FileKind(module, Optional.empty()));
  }

  /**
   * The kind of most files: by the most frequent ending, that of Parquet before others. Empty if
   * none is known.
   */
  static Optional<FileKind> of(List<String> names) {
    record Ending(String text, boolean metadata) {}
    Map<Ending, Long> counts =
        names.stream()
            .flatMap(name ->
                endings(name)
                    .map(ending -> new Ending(ending.toLowerCase(Locale.ROOT), isMetadata(name))))
            .collect(Collectors.groupingBy(ending -> ending, HashMap::new, Collectors.counting()));
    Comparator<Ending> order =
        Comparator.comparing((Ending ending) -> !ending.metadata)
            .thenComparing(counts::get)
            .thenComparingInt(ending -> FAVOURITES.indexOf(ending.text))
            .thenComparing(Ending::text);
    return counts.keySet().stream()
        .sorted(order.reversed())
        .flatMap(ending -> of(ending.text).stream())
        .findFirst();
  }

  /** Those of the files that are of this kind, and what belongs to them. */
  List<String> of(Stream<String> names) {
    return names
        .filter(name ->
            endings(name).anyMatch(ending -> of(ending).equals(Optional.of(this)))
                || (format.equals(Optional.of(SplitFiles.Format.PICTURES)) && isMetadata(name)))
        .toList();
  }

  private static Stream<String> endings(String name) {
    String[] parts = baseName(name).split("\\.", -1);
    return Stream.of(parts).skip(1).map(part -> "." + part);
  }

  private static String ending(String baseName) {
    int dot = baseName.lastIndexOf('.');
    return dot <= 0 ? "" : baseName.substring(dot);
  }

  static String baseName(String name) {
    return name.substring(name.lastIndexOf('/') + 1);
  }

  /** The known endings of the files, for messages. */
  static String endingsOf(List<String> names) {
    return names.stream()
        .map(name -> ending(baseName(name)))
        .filter(ending -> of(ending).isPresent())
        .distinct()
        .sorted()
        .collect(Collectors.joining(", "));
  }
}
