package org.fishermerge.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;
import org.fishermerge.checkpoint.TensorSelector;
import org.jspecify.annotations.Nullable;

/**
 * Examples whose inputs are tensors of a safetensors file, each [N, ...] of any dtype, as they
 * stand; with {@code labels} [N] or without. Any number of threads may read.
 */
public final class TensorExamples implements Examples, AutoCloseable {
  private static final ValueLayout.OfInt I32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong I64 =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final SafetensorsFile file;
  private final TensorSelector selector;
  private final List<TensorInfo> inputs;
  private final @Nullable TensorInfo labels;

  private TensorExamples(
      SafetensorsFile file, TensorSelector selector, List<String> names, List<String> optional) {
    this.file = file;
    this.selector = selector;
    List<TensorInfo> found = new ArrayList<>();
    for (String name : names) {
      found.add(input(selector.prefix() + name, found));
    }
    for (String name : optional) {
      if (file.header().tensors().containsKey(selector.prefix() + name)) {
        found.add(input(selector.prefix() + name, found));
      }
    }
    this.inputs = List.copyOf(found);
    this.labels = file.header().tensors().get(selector.prefix() + "labels");
    if (labels != null) {
      requireLabelShape(labels);
    }
  }

  /**
   * Opens the tensors {@code <prefix><name>} of each name.
   *
   * @throws InputException if one is missing or their numbers of examples differ
   */
  public static TensorExamples open(TensorSelector selector, List<String> names) {
    return open(selector, names, List.of());
  }

  /** The same, and those of {@code optional} that are there. */
  static TensorExamples open(TensorSelector selector, List<String> names, List<String> optional) {
    SafetensorsFile file = SafetensorsFile.open(selector.file());
    try {
      return new TensorExamples(file, selector, names, optional);
    } catch (Throwable e) {
      file.close();
      throw e;
    }
  }

  private TensorInfo input(String name, List<TensorInfo> before) {
    TensorInfo info = file.header().tensors().get(name);
    if (info == null) {
      throw new InputException(
          "%s: no tensor %s; it has %s"
              .formatted(
                  selector.file(),
                  name,
                  NameList.of(file.header().tensors().keySet(), SafetensorsImages.NAMES_SHOWN)));
    }
    if (info.shape().isEmpty() || info.elementCount() == 0 || info.dtype().bits() % 8 != 0) {
      throw new InputException(
          "%s: %s is %s %s; expected [examples, ...] of at least one example"
              .formatted(selector.file(), name, info.dtype(), info.shapeText()));
    }
    if (!before.isEmpty()) {
      TensorInfo first = before.getFirst();
      if (!info.shape().getFirst().equals(first.shape().getFirst())) {
        throw new InputException(
            "%s: %s has the shape %s and %s has %s; expected one row for each example in both"
                .formatted(
                    selector.file(), name, info.shapeText(), first.name(), first.shapeText()));
      }
    }
    return info;
  }

  private void requireLabelShape(TensorInfo info) {
    boolean integers = info.dtype() == DType.I64 || info.dtype() == DType.I32;
    if (!integers || !info.shape().equals(List.of(size()))) {
      throw new InputException(
          "%s: %s is %s %s; expected I64 or I32 [%d], one label for each example"
              .formatted(selector.file(), info.name(), info.dtype(), info.shapeText(), size()));
    }
  }

  @Override
  public long size() {
    return inputs.getFirst().shape().getFirst();
  }

  /** The inputs in the order of their names. */
  public List<TensorInfo> inputs() {
    return inputs;
  }

  @Override
  public boolean labelled() {
    return labels != null;
  }

  @Override
  public String where(long row) {
    return "%s: %s, row %d".formatted(selector.file(), inputs.getFirst().name(), row);
  }

  @Override
  public String description() {
    String prefix = selector.prefix();
    return selector.file().getFileName() + (prefix.isEmpty() ? "" : "#" + prefix);
  }

  /**
   * Copies rows of one input, end to end.
   *
   * @param input its place among {@link #inputs}
   */
  public MemorySegment rows(int input, long[] rows, Arena arena) {
    MemorySegment all = file.segment(inputs.get(input).name());
    long bytes = all.byteSize() / size();
    MemorySegment copy = arena.allocate(rows.length * bytes, 64);
    for (int i = 0; i < rows.length; i++) {
      MemorySegment.copy(all, rows[i] * bytes, copy, i * bytes, bytes);
    }
    return copy;
  }

  @Override
  public long[] labels() {
    long[] all = labels(LongStream.range(0, size()).toArray());
    if (all == null) {
      throw new InputException(
          "%s: no tensor %slabels; it has %s"
              .formatted(
                  selector.file(),
                  selector.prefix(),
                  NameList.of(file.header().tensors().keySet(), SafetensorsImages.NAMES_SHOWN)));
    }
    return all;
  }

  /** The labels of rows; null if there are none. */
  public long @Nullable [] labels(long[] rows) {
    if (labels == null) {
      return null;
    }
    MemorySegment all = file.segment(labels.name());
    boolean wide = labels.dtype() == DType.I64;
    long[] values = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      values[i] = wide ? all.getAtIndex(I64, rows[i]) : all.getAtIndex(I32, rows[i]);
    }
    return values;
  }

  @Override
  public void close() {
    file.close();
  }
}
