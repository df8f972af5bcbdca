package org.fishermerge.estimate;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticLayout;

/**
 * What rows of a run add up to, in a safetensors file: F32 tensors {@code BLOCK.LEVEL:PARAMETER},
 * the sums that {@link PairwiseSums} keeps, without the weight of the label rule.
 *
 * @param run names all that the estimate depends on, as saved progress does
 * @param first the place of the first row in the whole run
 * @param end the place after the last one
 * @param rows of the whole run
 * @param block rows of a block
 * @param probes backward passes of these rows, counted per example
 * @param layout what the sums are of, with the tokens of these rows
 */
record PartialFisher(
    String run, long first, long end, long rows, int block, long probes, StatisticLayout layout) {
  private static final String FORMAT = "fisher_part_format";
  private static final String RUN = "fisher_part_run";
  private static final String FIRST = "fisher_part_first";
  private static final String END = "fisher_part_end";
  private static final String ROWS = "fisher_part_rows";
  private static final String BLOCK = "fisher_part_block";
  private static final String PROBES = "fisher_part_probes";

  /**
   * Writes a part.
   *
   * @param file a new file
   */
  void write(Path file, PairwiseSums sums) {
    List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
    Map<String, MemorySegment> values = new LinkedHashMap<>();
    for (PairwiseSums.Node node : sums.nodes()) {
      node.sums()
          .forEach((parameter, sum) -> {
            String name = node.block() + "." + node.level() + ":" + parameter;
            tensors.add(
                new SafetensorsWriter.Declared(
                    name, DType.F32, List.of(sum.byteSize() / Float.BYTES)));
            values.put(name, sum);
          });
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(FORMAT, "1");
    metadata.put(RUN, run);
    metadata.put(FIRST, Long.toString(first));
    metadata.put(END, Long.toString(end));
    metadata.put(ROWS, Long.toString(rows));
    metadata.put(BLOCK, Integer.toString(block));
    metadata.put(PROBES, Long.toString(probes));
    metadata.putAll(layout.toMap());
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, tensors, metadata)) {
      values.forEach((name, sum) -> writer.segment(name).copyFrom(sum));
      writer.finish();
    }
  }

  private static PartialFisher of(SafetensorsFile file, Path path) {
    Map<String, String> metadata = file.header().metadata();
    try {
      if ("1".equals(metadata.get(FORMAT))) {
        return new PartialFisher(
            metadata.getOrDefault(RUN, ""),
            Long.parseLong(metadata.getOrDefault(FIRST, "")),
            Long.parseLong(metadata.getOrDefault(END, "")),
            Long.parseLong(metadata.getOrDefault(ROWS, "")),
            Integer.parseInt(metadata.getOrDefault(BLOCK, "")),
            Long.parseLong(metadata.getOrDefault(PROBES, "")),
            StatisticLayout.from(file.header()));
      }
    } catch (NumberFormatException e) {
      // The message below covers it.
    }
    throw new InputException(path + ": holds no rows of an estimation");
  }

  /**
   * Adds up parts that cover a whole run, in any order.
   *
   * @param whole the run that they have to be parts of, without probes and tokens
   * @param sums takes them up
   * @return the whole run with those of all parts
   * @throws InputException if one is of another run, or rows are missing or there twice
   */
  static PartialFisher join(List<Path> files, PartialFisher whole, PairwiseSums sums) {
    record Opened(Path path, SafetensorsFile file, PartialFisher part) {}
    List<Opened> parts = new ArrayList<>();
    try {
      for (Path path : files) {
        SafetensorsFile file = SafetensorsFile.open(path);
        parts.add(new Opened(path, file, of(file, path)));
      }
      parts.sort(Comparator.comparingLong(opened -> opened.part.first));
      long next = 0;
      long probes = 0;
      StatisticLayout layout = whole.layout;
      for (Opened opened : parts) {
        PartialFisher part = opened.part;
        if (!part.run.equals(whole.run)
            || part.rows != whole.rows
            || part.block != whole.block
            || !part.layout.hasShapeOf(whole.layout)) {
          throw new InputException(
              opened.path
                  + ": holds rows of another estimation: model, data, settings and batch size must"
                  + " be the same for all parts");
        }
        if (part.first != next) {
          throw new InputException(
              "%s: begins with row %d of the run, where row %d is due"
                  .formatted(opened.path, part.first, next));
        }
        nodes(opened.file).forEach(sums::add);
        next = part.end;
        probes += part.probes;
        layout = layout.plus(part.layout);
      }
      if (next != whole.rows) {
        throw new InputException(
            "the parts end at row %d of %d of the run".formatted(next, whole.rows));
      }
      return new PartialFisher(
          whole.run, whole.first, whole.end, whole.rows, whole.block, probes, layout);
    } finally {
      parts.forEach(opened -> opened.file.close());
    }
  }

  /** In order of their blocks. */
  private static List<PairwiseSums.Node> nodes(SafetensorsFile file) {
    Map<String, PairwiseSums.Node> nodes = new LinkedHashMap<>();
    for (String name : file.header().tensors().keySet()) {
      int colon = name.indexOf(':');
      int dot = name.indexOf('.');
      nodes
          .computeIfAbsent(
              name.substring(0, colon),
              key ->
                  new PairwiseSums.Node(
                      Long.parseLong(key.substring(0, dot)),
                      Integer.parseInt(key.substring(dot + 1)),
                      new LinkedHashMap<>()))
          .sums()
          .put(name.substring(colon + 1), file.segment(name));
    }
    return nodes.values().stream()
        .sorted(Comparator.comparingLong(PairwiseSums.Node::block))
        .toList();
  }
}
