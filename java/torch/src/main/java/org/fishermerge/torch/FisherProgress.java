package org.fishermerge.torch;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.zip.CRC32C;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.checkpoint.StatisticLayout;

/**
 * What an unfinished estimate has summed up, in a file: from it a run goes on to the same bits as
 * one that was never interrupted. The file appears whole or not at all, and states the CRC-32C of
 * its data.
 *
 * @param run names all that the estimate depends on
 * @param batch the batch size, which decides where examples were cut
 * @param examples summed up so far
 * @param probes backward passes so far
 * @param layout what the sums are of, with the tokens so far
 */
public record FisherProgress(
    String run, int batch, long examples, long probes, StatisticLayout layout) {
  private static final String FORMAT = "fisher_progress_format";
  private static final String RUN = "fisher_progress_run";
  private static final String BATCH = "fisher_progress_batch";
  private static final String EXAMPLES = "fisher_progress_examples";
  private static final String PROBES = "fisher_progress_probes";
  private static final String CHECKSUM = "fisher_progress_crc32c";
  private static final long CHUNK = 1L << 28;

  /** Replaces the file by the state of {@code sums}, by parameter name. */
  void write(Path file, Map<String, MemorySegment> sums) {
    List<SafetensorsWriter.Declared> tensors = new ArrayList<>();
    sums.forEach((name, sum) ->
        tensors.add(
            new SafetensorsWriter.Declared(
                name, DType.F32, List.of(sum.byteSize() / Float.BYTES))));
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put(FORMAT, "1");
    metadata.put(RUN, run);
    metadata.put(BATCH, Integer.toString(batch));
    metadata.put(EXAMPLES, Long.toString(examples));
    metadata.put(PROBES, Long.toString(probes));
    metadata.putAll(layout.toMap());
    metadata.put(CHECKSUM, checksum(sums));
    try (AtomicOutput output = AtomicOutput.file(file, true)) {
      try (SafetensorsWriter writer = SafetensorsWriter.create(output.temp(), tensors, metadata)) {
        sums.forEach((name, sum) -> writer.segment(name).copyFrom(sum));
        writer.finish();
      }
      output.commit();
    }
  }

  /** What the file states; empty if there is no such file or it is damaged. */
  public static Optional<FisherProgress> read(Path file) {
    if (!Files.isRegularFile(file)) {
      return Optional.empty();
    }
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      return of(opened);
    } catch (InputException e) {
      return Optional.empty();
    }
  }

  private static Optional<FisherProgress> of(SafetensorsFile file) {
    Map<String, String> metadata = file.header().metadata();
    try {
      if (!"1".equals(metadata.get(FORMAT)) || !metadata.containsKey(RUN)) {
        return Optional.empty();
      }
      FisherProgress progress =
          new FisherProgress(
              metadata.getOrDefault(RUN, ""),
              Integer.parseInt(metadata.getOrDefault(BATCH, "")),
              Long.parseLong(metadata.getOrDefault(EXAMPLES, "")),
              Long.parseLong(metadata.getOrDefault(PROBES, "")),
              StatisticLayout.from(file.header()));
      return progress.batch > 0 && progress.examples > 0 && progress.probes >= 0
          ? Optional.of(progress)
          : Optional.empty();
    } catch (NumberFormatException e) {
      return Optional.empty();
    }
  }

  /**
   * Fills {@code sums} from the file.
   *
   * @return false, with {@code sums} unchanged, if the file is not that of this progress, holds
   *     other tensors or is damaged
   */
  boolean load(Path file, Map<String, MemorySegment> sums) {
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      if (!of(opened).equals(Optional.of(this))
          || !opened.header().tensors().keySet().equals(sums.keySet())) {
        return false;
      }
      Map<String, MemorySegment> saved = new LinkedHashMap<>();
      for (Map.Entry<String, MemorySegment> sum : sums.entrySet()) {
        MemorySegment segment = opened.segment(sum.getKey());
        if (segment.byteSize() != sum.getValue().byteSize()) {
          return false;
        }
        saved.put(sum.getKey(), segment);
      }
      if (!checksum(saved).equals(opened.header().metadata().get(CHECKSUM))) {
        return false;
      }
      sums.forEach((name, sum) -> sum.copyFrom(Objects.requireNonNull(saved.get(name))));
      return true;
    } catch (InputException e) {
      return false;
    }
  }

  /** Over the data of all tensors, in the order of the map. */
  private static String checksum(Map<String, MemorySegment> sums) {
    CRC32C crc = new CRC32C();
    for (MemorySegment sum : sums.values()) {
      for (long from = 0; from < sum.byteSize(); from += CHUNK) {
        crc.update(sum.asSlice(from, Math.min(CHUNK, sum.byteSize() - from)).asByteBuffer());
      }
    }
    return Long.toHexString(crc.getValue());
  }

  /** Removes the file, if it is there. */
  public static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new InputException(file + ": cannot be removed: " + Reasons.of(e), e);
    }
  }
}
