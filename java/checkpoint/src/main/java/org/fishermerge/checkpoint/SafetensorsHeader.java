package org.fishermerge.checkpoint;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The validated header of one safetensors file: every tensor lies inside the file, tensors neither
 * overlap nor leave holes, sizes agree with shapes, and nothing follows the last one.
 *
 * @param file the file, as it was given
 * @param metadata the {@code __metadata__} entries in stored order, empty if there are none
 * @param tensors by stored name, in order of offsets
 * @param dataOffset where the data section begins in the file, in bytes
 * @param fileSize the size of the whole file in bytes
 */
public record SafetensorsHeader(
    Path file,
    Map<String, String> metadata,
    Map<String, TensorInfo> tensors,
    long dataOffset,
    long fileSize) {

  /** The reference implementation's limit, for reading and writing. */
  public static final int MAX_HEADER_BYTES = 100_000_000;

  /** PyTorch's own limit on dimensions. */
  public static final int MAX_RANK = 64;

  /** The length of the header comes first, as an unsigned little-endian number. */
  static final int LENGTH_BYTES = 8;

  static final String METADATA_KEY = "__metadata__";

  public SafetensorsHeader {
    metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
    tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
  }

  /**
   * Reads and validates a header; the data section is not touched. White space around the JSON is
   * accepted. Tensor names are arbitrary text and are never used as paths.
   *
   * @throws InputException if the file cannot be read, breaks a rule of the format, or is something
   *     else (a Git LFS pointer, an HTML page, a pickle, ...), which the message then says
   */
  public static SafetensorsHeader read(Path file) {
    return HeaderReader.read(file);
  }
}
