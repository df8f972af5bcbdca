package org.fishermerge.checkpoint;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;

/** The hash of a model's tensors; {@link Checkpoint#tensorSha256} gives the encoding. */
public final class TensorDigest {
  /**
   * A tensor that counts unless it is an integer buffer.
   *
   * @param byteCount length of its data
   * @param data gives parts of it, row-major, little-endian
   */
  public record Entry(
      String canonicalName, DType dtype, List<Long> shape, long byteCount, Data data) {
    public Entry {
      shape = List.copyOf(shape);
    }

    /** A tensor whose data is at hand. */
    public Entry(String canonicalName, DType dtype, List<Long> shape, MemorySegment data) {
      this(canonicalName, dtype, shape, data.byteSize(), data::asSlice);
    }
  }

  /** Data that is read from front to back, in parts that begin and end between elements. */
  @FunctionalInterface
  public interface Data {
    /** Valid until the next call. */
    MemorySegment read(long fromByte, long bytes);
  }

  /** The order of UTF-8 bytes, which is that of code points; String.compareTo's is not. */
  static final Comparator<String> UTF8_ORDER =
      (a, b) ->
          Arrays.compareUnsigned(
              a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));

  /** Read at once: what is computed needs memory for as much. */
  private static final long SLICE_BYTES = 1L << 23;

  private final MessageDigest digest;
  private final ByteBuffer number = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  private TensorDigest(MessageDigest digest) {
    this.digest = digest;
  }

  /** As {@link Checkpoint#tensorSha256}. */
  public static String sha256(List<Entry> tensors) {
    return of(tensors, "fisher-merge tensors 1", Long.MAX_VALUE);
  }

  /** As {@link Checkpoint#fingerprint}. */
  public static String fingerprint(List<Entry> tensors) {
    return of(tensors, "fisher-merge fingerprint 1", 4096);
  }

  private static String of(List<Entry> tensors, String scheme, long maxDataBytes) {
    MessageDigest sha256;
    try {
      sha256 = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
    TensorDigest digest = new TensorDigest(sha256);
    sha256.update(scheme.getBytes(StandardCharsets.US_ASCII));
    sha256.update((byte) 0);
    tensors.stream()
        .filter(tensor -> !tensor.dtype().isInteger())
        .sorted(Comparator.comparing(Entry::canonicalName, UTF8_ORDER))
        .forEach(tensor -> digest.update(tensor, maxDataBytes));
    return HexFormat.of().formatHex(sha256.digest());
  }

  private void update(Entry tensor, long maxDataBytes) {
    text(tensor.canonicalName());
    text(tensor.dtype().name());
    number(tensor.shape().size());
    tensor.shape().forEach(this::number);
    number(tensor.byteCount());
    long end = Math.min(tensor.byteCount(), maxDataBytes);
    for (long from = 0; from < end; from += SLICE_BYTES) {
      digest.update(tensor.data().read(from, Math.min(SLICE_BYTES, end - from)).asByteBuffer());
    }
  }

  private void text(String text) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    number(utf8.length);
    digest.update(utf8);
  }

  private void number(long value) {
    digest.update(number.putLong(0, value).array());
  }
}
