package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.fishermerge.checkpoint.SafetensorsWriter.Declared;

/**
 * Writes a model's tensors in place: as one safetensors file, or in a folder as shards of a given
 * size with the index by which transformers and {@link Checkpoint} find them; or into the memory of
 * a {@link TensorSink}. What {@link SafetensorsWriter} says of one file holds for all of them.
 *
 * <p>A tensor is complete when {@link #writeBehind} has been told of all its bytes. Tensors of the
 * same values ({@link #copy}) are complete with it.
 */
public final class CheckpointWriter implements AutoCloseable {
  /** No bound on a file's size. */
  public static final long UNBOUNDED = Long.MAX_VALUE;

  private final List<TensorWriter> writers = new ArrayList<>();
  private final Map<String, TensorWriter> writerOf = new LinkedHashMap<>();
  private final Map<String, List<String>> copies = new HashMap<>();

  /** Bytes of a tensor that are written; none once it is complete, as it may be written again. */
  private final Map<String, Long> written = new HashMap<>();

  private CheckpointWriter() {}

  /**
   * Creates one file.
   *
   * @throws InputException as {@link SafetensorsWriter#create}
   */
  public static CheckpointWriter file(
      Path file, List<Declared> tensors, Map<String, String> metadata) {
    CheckpointWriter writer = new CheckpointWriter();
    writer.add(file, tensors, metadata);
    return writer;
  }

  /**
   * Creates a folder's files: {@code model.safetensors}, or {@code model-0000I-of-0000N} and their
   * index if one file would exceed the bound.
   *
   * @param folder exists and holds no model
   * @param tensors fill one shard after the other in this order
   * @param metadata of every file
   * @param shardBytes most bytes of tensors in a file; a larger tensor has a file to itself
   * @throws InputException as {@link SafetensorsWriter#create}
   */
  public static CheckpointWriter folder(
      Path folder, List<Declared> tensors, Map<String, String> metadata, long shardBytes) {
    List<List<Declared>> shards = shards(tensors, shardBytes);
    if (shards.size() == 1) {
      return file(folder.resolve(WeightFiles.SINGLE_FILE), tensors, metadata);
    }
    CheckpointWriter writer = new CheckpointWriter();
    try {
      Map<String, String> nameOf = new TreeMap<>();
      for (int i = 0; i < shards.size(); i++) {
        String name =
            String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", i + 1, shards.size());
        shards.get(i).forEach(tensor -> nameOf.put(tensor.name(), name));
        writer.add(folder.resolve(name), shards.get(i), metadata);
      }
      writeIndex(folder.resolve(WeightFiles.INDEX_FILE), nameOf, bytes(tensors));
      return writer;
    } catch (RuntimeException | Error e) {
      writer.close();
      throw e;
    }
  }

  /**
   * Hands tensors to a sink, each as soon as it is complete. A segment's memory is that which the
   * sink gives, or else is taken when the segment is first asked for.
   *
   * @param inputs what is read meanwhile
   * @throws InputException if the sink's memory cannot be used, or overlaps an input
   */
  public static CheckpointWriter sink(
      TensorSink sink, List<Declared> tensors, Collection<NamedTensors> inputs) {
    CheckpointWriter writer = new CheckpointWriter();
    writer.add(new SinkWriter(sink, tensors, inputs), tensors);
    return writer;
  }

  /** How tensors are cut into files of at most so many bytes of data: at least one file. */
  public static List<List<Declared>> shards(List<Declared> tensors, long shardBytes) {
    if (shardBytes < 1) {
      throw new IllegalArgumentException("a shard of " + shardBytes + " bytes");
    }
    List<List<Declared>> shards = new ArrayList<>();
    List<Declared> shard = new ArrayList<>();
    long filled = 0;
    for (Declared tensor : tensors) {
      long bytes = TensorInfo.bytes(tensor.dtype(), tensor.shape());
      if (!shard.isEmpty() && bytes > shardBytes - filled) {
        shards.add(shard);
        shard = new ArrayList<>();
        filled = 0;
      }
      shard.add(tensor);
      filled += bytes;
    }
    shards.add(shard);
    return shards;
  }

  private static long bytes(List<Declared> tensors) {
    return tensors.stream()
        .mapToLong(tensor -> TensorInfo.bytes(tensor.dtype(), tensor.shape()))
        .sum();
  }

  @SuppressWarnings("MustBeClosedChecker") // closed by close()
  private void add(Path file, List<Declared> tensors, Map<String, String> metadata) {
    add(SafetensorsWriter.create(file, tensors, metadata), tensors);
  }

  private void add(TensorWriter writer, List<Declared> tensors) {
    writers.add(writer);
    tensors.forEach(tensor -> writerOf.put(tensor.name(), writer));
  }

  /** Another tensor of the same dtype and shape gets the values of this one when it is complete. */
  public void copy(String name, String other) {
    copies.computeIfAbsent(name, any -> new ArrayList<>()).add(other);
  }

  private static void writeIndex(Path file, Map<String, String> shardOf, long totalBytes) {
    try (JsonGenerator json =
        StrictJson.FACTORY
            .createGenerator(Files.newOutputStream(file))
            .setPrettyPrinter(new DefaultPrettyPrinter())) {
      json.writeStartObject();
      json.writeObjectFieldStart("metadata");
      json.writeNumberField("total_size", totalBytes);
      json.writeEndObject();
      json.writeObjectFieldStart("weight_map");
      for (Map.Entry<String, String> entry : shardOf.entrySet()) {
        json.writeStringField(entry.getKey(), entry.getValue());
      }
      json.writeEndObject();
      json.writeEndObject();
    } catch (IOException e) {
      throw Messages.cannotWrite(file, e);
    }
  }

  /** As {@link SafetensorsWriter#segment}; a sink's is valid until the tensor is complete. */
  public MemorySegment segment(String name) {
    return writerOf(name).segment(name);
  }

  /** The files, valid until {@link #finish} or {@link #close}; none of a sink. */
  public List<FileMapping> mappings() {
    return writers.stream().flatMap(writer -> writer.mappings().stream()).toList();
  }

  /** As {@link SafetensorsWriter#writeBehind}, for a part of this tensor's segment. */
  public void writeBehind(String name, MemorySegment part) {
    TensorWriter writer = writerOf(name);
    writer.writeBehind(part);
    MemorySegment whole = writer.segment(name);
    if (written.merge(name, part.byteSize(), Long::sum) < whole.byteSize()) {
      return;
    }
    written.remove(name);
    for (String copy : copies.getOrDefault(name, List.of())) {
      MemorySegment target = segment(copy);
      target.copyFrom(whole);
      writeBehind(copy, target);
    }
    writer.complete(name);
  }

  private TensorWriter writerOf(String name) {
    TensorWriter writer = writerOf.get(name);
    if (writer == null) {
      throw new IllegalArgumentException("tensor " + Messages.quote(name) + " was not declared");
    }
    return writer;
  }

  /** As {@link SafetensorsWriter#finish}, for all files. */
  public void finish() {
    writers.forEach(TensorWriter::finish);
  }

  /** Lets go of all files. */
  @Override
  public void close() {
    RuntimeException failure = null;
    for (TensorWriter writer : writers) {
      try {
        writer.close();
      } catch (RuntimeException e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
