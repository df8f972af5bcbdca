package org.fishermerge.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.SafetensorsFile;
import org.fishermerge.checkpoint.TensorInfo;
import org.fishermerge.checkpoint.TensorSelector;
import org.jspecify.annotations.Nullable;

/** {@code pixel_values} and {@code labels} of a safetensors file, already processed. */
final class SafetensorsImages extends StoredImages {
  /** How many names of what a file has its messages show. */
  static final int NAMES_SHOWN = 8;

  private static final ValueLayout.OfShort U16 = little(ValueLayout.JAVA_SHORT_UNALIGNED);
  private static final ValueLayout.OfInt I32 = little(ValueLayout.JAVA_INT_UNALIGNED);
  private static final ValueLayout.OfLong I64 = little(ValueLayout.JAVA_LONG_UNALIGNED);
  private static final ValueLayout.OfFloat F32 = little(ValueLayout.JAVA_FLOAT_UNALIGNED);
  private static final ValueLayout.OfFloat NATIVE_F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private final SafetensorsFile file;
  private final TensorSelector selector;
  private final TensorInfo pixelValues;
  private final MemorySegment pixels;
  private final @Nullable TensorInfo labelInfo;
  private final @Nullable MemorySegment labels;

  private SafetensorsImages(
      SafetensorsFile file, TensorSelector selector, ImageProcessor processor) {
    super(processor);
    this.file = file;
    this.selector = selector;
    this.pixelValues = requirePixelValues();
    this.pixels = file.segment(pixelValues.name());
    this.labelInfo = requireMatchingLabels();
    this.labels = labelInfo == null ? null : file.segment(labelInfo.name());
  }

  static SafetensorsImages open(TensorSelector selector, ImageProcessor processor) {
    SafetensorsFile file = SafetensorsFile.open(selector.file());
    try {
      return new SafetensorsImages(file, selector, processor);
    } catch (Throwable e) {
      file.close();
      throw e;
    }
  }

  private TensorInfo requirePixelValues() {
    String name = selector.prefix() + "pixel_values";
    Map<String, TensorInfo> tensors = file.header().tensors();
    TensorInfo info = tensors.get(name);
    if (info == null) {
      String others =
          tensors.keySet().stream()
              .filter(other -> other.endsWith("pixel_values"))
              .map(other -> "#" + other.substring(0, other.length() - "pixel_values".length()))
              .collect(Collectors.joining(", "));
      throw new InputException(
          selector.file()
              + ": no tensor "
              + name
              + (others.isEmpty()
                  ? "; it has " + NameList.of(tensors.keySet(), NAMES_SHOWN)
                  : "; append one of these to the file name: " + others));
    }
    List<Long> shape = info.shape();
    String expected =
        "expected [N, 3, %d, %d] as the image processor makes them"
            .formatted(processor.height(), processor.width());
    if (shape.size() != 4
        || shape.get(1) != 3
        || shape.get(2) != processor.height()
        || shape.get(3) != processor.width()) {
      throw new InputException(
          "%s: %s has the shape %s; %s"
              .formatted(selector.file(), name, info.shapeText(), expected));
    }
    if (shape.getFirst() == 0) {
      throw new InputException(
          "%s: %s is empty: the data set has no examples".formatted(selector.file(), name));
    }
    switch (info.dtype()) {
      case F32, F16, BF16, U8 -> {}
      default ->
          throw new InputException(
              "%s: %s is %s; expected F32, F16 or BF16, or U8 for raw pixels"
                  .formatted(selector.file(), name, info.dtype()));
    }
    return info;
  }

  private @Nullable TensorInfo requireMatchingLabels() {
    String name = selector.prefix() + "labels";
    TensorInfo info = file.header().tensors().get(name);
    if (info == null) {
      return null;
    }
    if (info.dtype() != DType.I64 && info.dtype() != DType.I32) {
      throw new InputException(
          "%s: %s is %s; expected I64 or I32".formatted(selector.file(), name, info.dtype()));
    }
    if (!info.shape().equals(List.of(size()))) {
      throw new InputException(
          "%s: %s has the shape %s; expected [%d], one label for each picture of %s"
              .formatted(selector.file(), name, info.shapeText(), size(), pixelValues.name()));
    }
    return info;
  }

  @Override
  public long size() {
    return pixelValues.shape().getFirst();
  }

  @Override
  public boolean labelled() {
    return labels != null;
  }

  @Override
  public long[] labels() {
    if (labels == null) {
      throw new InputException(
          "%s: no tensor %slabels; this needs labelled examples"
              .formatted(selector.file(), selector.prefix()));
    }
    try {
      return LongStream.range(0, size()).map(this::label).toArray();
    } finally {
      file.requireSize();
    }
  }

  @Override
  public String where(long row) {
    return "%s: %spixel_values, row %d".formatted(selector.file(), selector.prefix(), row);
  }

  @Override
  public String description() {
    String prefix = selector.prefix();
    return selector.file().getFileName() + (prefix.isEmpty() ? "" : "#" + prefix);
  }

  @Override
  public boolean usesProcessor() {
    return pixelValues.dtype() == DType.U8;
  }

  @Override
  long windowExamples() {
    return Long.MAX_VALUE; // nothing is held: the file is mapped
  }

  @Override
  Window read(long[] indices, BooleanSupplier cancelled) {
    return new Window() {
      @Override
      public void decode(int position, MemorySegment out) {
        try {
          convert(indices[position], out);
        } finally {
          file.requireSize();
        }
      }
    };
  }

  private long label(long index) {
    if (labels == null || labelInfo == null) {
      return 0;
    }
    return labelInfo.dtype() == DType.I64
        ? labels.getAtIndex(I64, index)
        : labels.getAtIndex(I32, index);
  }

  private void convert(long index, MemorySegment out) {
    long values = 3L * processor.height() * processor.width();
    long bytes = values * pixelValues.dtype().bits() / 8;
    MemorySegment in = pixels.asSlice(index * bytes, bytes);
    switch (pixelValues.dtype()) {
      case U8 -> processor.normalize(in, out);
      case F32 -> {
        for (long i = 0; i < values; i++) {
          out.setAtIndex(NATIVE_F32, i, in.getAtIndex(F32, i));
        }
      }
      case F16 -> {
        for (long i = 0; i < values; i++) {
          out.setAtIndex(NATIVE_F32, i, Float.float16ToFloat(in.getAtIndex(U16, i)));
        }
      }
      case BF16 -> {
        for (long i = 0; i < values; i++) {
          float value = Float.intBitsToFloat(in.getAtIndex(U16, i) << 16);
          out.setAtIndex(NATIVE_F32, i, value);
        }
      }
      default -> throw new AssertionError(pixelValues.dtype());
    }
  }

  @Override
  public void close() {
    file.close();
  }

  @SuppressWarnings("unchecked")
  private static <T extends ValueLayout> T little(T layout) {
    return (T) layout.withOrder(ByteOrder.LITTLE_ENDIAN);
  }
}
