package org.fishermerge.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorInfo;
import org.fishermerge.checkpoint.TensorSelector;

/**
 * {@code input_ids} [N, T], {@code attention_mask} [N, T], {@code token_type_ids} [N, T] and {@code
 * labels} [N] of a safetensors file, as tokenizers of transformers give them; all but the ids may
 * be absent.
 */
final class SafetensorsTokens implements TokenDataset {
  static final String IDS = "input_ids";
  static final String MASK = "attention_mask";
  static final String TYPES = "token_type_ids";
  private static final ValueLayout.OfInt I32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong I64 =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final TensorSelector selector;
  private final TensorExamples tensors;
  private final int width;
  private final OptionalInt mask; // which of the inputs
  private final OptionalInt types;

  private SafetensorsTokens(TensorSelector selector, TensorExamples tensors) {
    this.selector = selector;
    this.tensors = tensors;
    TensorInfo ids = tensors.inputs().getFirst();
    boolean integers = ids.dtype() == DType.I64 || ids.dtype() == DType.I32;
    if (!integers || ids.shape().size() != 2) {
      throw new InputException(
          "%s: %s is %s %s; expected I64 or I32 [examples, tokens]"
              .formatted(selector.file(), ids.name(), ids.dtype(), ids.shapeText()));
    }
    this.width = Math.toIntExact(ids.shape().getLast());
    this.mask = input(MASK);
    this.types = input(TYPES);
    mask.ifPresent(input -> requireLike(ids, tensors.inputs().get(input)));
    types.ifPresent(input -> requireLike(ids, tensors.inputs().get(input)));
  }

  static SafetensorsTokens open(TensorSelector selector) {
    TensorExamples tensors = TensorExamples.open(selector, List.of(IDS), List.of(MASK, TYPES));
    try {
      return new SafetensorsTokens(selector, tensors);
    } catch (Throwable e) {
      tensors.close();
      throw e;
    }
  }

  private OptionalInt input(String name) {
    return IntStream.range(0, tensors.inputs().size())
        .filter(i -> tensors.inputs().get(i).name().equals(selector.prefix() + name))
        .findFirst();
  }

  private void requireLike(TensorInfo ids, TensorInfo mask) {
    boolean known =
        switch (mask.dtype()) {
          case I64, I32, I8, U8, BOOL -> true;
          default -> false;
        };
    if (!known || !mask.shape().equals(ids.shape())) {
      throw new InputException(
          "%s: %s is %s %s; expected integers or BOOL of the shape of %s, %s"
              .formatted(
                  selector.file(),
                  mask.name(),
                  mask.dtype(),
                  mask.shapeText(),
                  ids.name(),
                  ids.shapeText()));
    }
  }

  @Override
  public long size() {
    return tensors.size();
  }

  @Override
  public boolean labelled() {
    return tensors.labelled();
  }

  @Override
  public long[] labels() {
    return tensors.labels();
  }

  @Override
  public String description() {
    return tensors.description();
  }

  @Override
  public String where(long row) {
    return tensors.where(row);
  }

  @Override
  public List<long[]> texts(long[] rows, Consumer<BadRowException> bad) {
    List<long[]> texts = new ArrayList<>();
    for (long row : rows) {
      long[] ids = values(0, row);
      texts.add(
          mask.isPresent()
              ? Arrays.copyOf(
                  ids, unmasked(values(mask.getAsInt(), row), selector.prefix() + MASK, where(row)))
              : ids);
    }
    return texts;
  }

  @Override
  public boolean complete() {
    return mask.isPresent();
  }

  @Override
  public Optional<List<long[]>> types(long[] rows) {
    return types.isEmpty()
        ? Optional.empty()
        : Optional.of(Arrays.stream(rows).mapToObj(row -> values(types.getAsInt(), row)).toList());
  }

  /**
   * The number of ones that a mask begins with; there must be none after them.
   *
   * @param name of the mask, for messages
   * @param where the row is
   */
  static int unmasked(long[] mask, String name, String where) {
    int length = 0;
    for (int t = 0; t < mask.length; t++) {
      if (mask[t] != 0 && mask[t] != 1) {
        throw new InputException(
            "%s: %s of token %d is %d; expected 0 or 1".formatted(where, name, t, mask[t]));
      }
      if (mask[t] == 1) {
        if (length < t) {
          throw new InputException(
              "%s: %s is 0 for token %d and 1 for token %d; expected ones and then zeros: pad on"
                      .formatted(where, name, length, t)
                  + " the right");
        }
        length++;
      }
    }
    return length;
  }

  private long[] values(int input, long row) {
    DType dtype = tensors.inputs().get(input).dtype();
    long[] values = new long[width];
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment stored = tensors.rows(input, new long[] {row}, arena);
      for (int t = 0; t < width; t++) {
        values[t] =
            switch (dtype) {
              case I64 -> stored.getAtIndex(I64, t);
              case I32 -> stored.getAtIndex(I32, t);
              default -> stored.get(ValueLayout.JAVA_BYTE, t);
            };
      }
    }
    return values;
  }

  @Override
  public void close() {
    tensors.close();
  }
}
