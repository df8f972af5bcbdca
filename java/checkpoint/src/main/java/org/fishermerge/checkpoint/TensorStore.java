package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Where the tensors of a {@link Checkpoint} are: in files, or in memory of the program. What they
 * mean is the checkpoint's matter, and the same for both.
 */
sealed interface TensorStore extends AutoCloseable permits MappedFiles, MemoryStore {
  /**
   * What there is, one header per file; of tensors in memory, as one file of them would have it.
   */
  List<SafetensorsHeader> headers();

  /** The files among them. */
  List<SafetensorsHeader> files();

  /** What is odd, complete sentences for users. */
  List<String> warnings();

  /** A settings file of the model. */
  Optional<Path> sibling(String fileName);

  /** Whether a tensor's data is off the heap, where kernels can read it. */
  boolean isInPlace(CheckpointTensor tensor);

  /** The data of a tensor that {@link #isInPlace}: its bytes, valid until the store is closed. */
  MemorySegment segment(CheckpointTensor tensor);

  /** Copies elements of a tensor, as {@link Checkpoint#copy}. */
  void copy(CheckpointTensor tensor, long from, long count, MemorySegment target);

  /** Whole mappings of the files. */
  List<FileMapping> mappings();

  /**
   * Whether all files are as long as when they were opened.
   *
   * @throws InputException if one is not
   */
  void requireSizes();

  @Override
  void close();
}
