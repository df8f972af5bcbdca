package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The files of a model, each mapped when its data is first asked for. Safe for threads. */
final class MappedFiles implements TensorStore {
  private final WeightFiles files;
  private final Map<Path, SafetensorsFile> mapped = new HashMap<>();
  private boolean closed;

  MappedFiles(WeightFiles files) {
    this.files = files;
  }

  @Override
  public List<SafetensorsHeader> headers() {
    return files.headers();
  }

  @Override
  public List<SafetensorsHeader> files() {
    return files.headers();
  }

  @Override
  public List<String> warnings() {
    return files.warnings();
  }

  @Override
  public Optional<Path> sibling(String fileName) {
    return files.folder().find(fileName);
  }

  @Override
  public boolean isInPlace(CheckpointTensor tensor) {
    return true;
  }

  @Override
  public MemorySegment segment(CheckpointTensor tensor) {
    return map(tensor.file()).segment(tensor.info().name());
  }

  @Override
  public void copy(CheckpointTensor tensor, long from, long count, MemorySegment target) {
    long width = tensor.info().dtype().bits() / Byte.SIZE;
    target.copyFrom(segment(tensor).asSlice(from * width, count * width));
  }

  @Override
  public List<FileMapping> mappings() {
    return headers().stream().map(header -> map(header.file()).mapping()).toList();
  }

  @Override
  public void requireSizes() {
    headers().forEach(SafetensorsFile::requireSize);
  }

  private synchronized SafetensorsFile map(Path file) {
    if (closed) {
      throw new IllegalStateException("the checkpoint is closed");
    }
    SafetensorsFile open = mapped.get(file);
    if (open == null) {
      SafetensorsHeader header =
          headers().stream().filter(h -> h.file().equals(file)).findFirst().orElseThrow();
      open = SafetensorsFile.open(header);
      mapped.put(file, open);
    }
    return open;
  }

  @Override
  public synchronized void close() {
    closed = true;
    mapped.values().forEach(SafetensorsFile::close);
    mapped.clear();
  }
}
