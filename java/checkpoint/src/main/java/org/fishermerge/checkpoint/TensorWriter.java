package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.List;

/** Where some tensors of a {@link CheckpointWriter} go: one file, or a program's sink. */
sealed interface TensorWriter extends AutoCloseable permits SafetensorsWriter, SinkWriter {
  /** As {@link SafetensorsWriter#segment}. */
  MemorySegment segment(String name);

  /** The file, if there is one; valid as long as segments are. */
  List<FileMapping> mappings();

  /** As {@link SafetensorsWriter#writeBehind}. */
  void writeBehind(MemorySegment part);

  /** All of a tensor is written. */
  default void complete(String name) {}

  /** As {@link SafetensorsWriter#finish}. */
  void finish();

  /** As {@link SafetensorsWriter#close}. */
  @Override
  void close();
}
