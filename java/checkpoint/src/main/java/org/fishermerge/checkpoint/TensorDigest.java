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

/** The hash of a checkpoint's parameters; {@link Checkpoint#tensorSha256} gives the encoding. */
final class TensorDigest {
  /** The order of UTF-8 bytes, which is that of code points; String.compareTo's is not. */
  static final Comparator<String> UTF8_ORDER =
      (a, b) ->
          Arrays.compareUnsigned(
              a.getBytes(StandardCharsets.UTF_8), b.getBytes(StandardCharsets.UTF_8));

  /** A ByteBuffer holds less than 2 GiB. */
  private static final long SLICE_BYTES = 1L << 30;

  private final MessageDigest digest;
  private final ByteBuffer number = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);

  private TensorDigest(MessageDigest digest) {
    this.digest = digest;
  }

  static String of(Checkpoint checkpoint, String scheme, long maxDataBytes) {
    MessageDigest sha256;
    try {
      sha256 = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
    TensorDigest digest = new TensorDigest(sha256);
    sha256.update(scheme.getBytes(StandardCharsets.US_ASCII));
    sha256.update((byte) 0);
    List<CheckpointTensor> tensors =
        checkpoint.tensors().values().stream()
            .filter(tensor -> !tensor.info().dtype().isInteger())
            .sorted(Comparator.comparing(CheckpointTensor::canonicalName, UTF8_ORDER))
            .toList();
    for (CheckpointTensor tensor : tensors) {
      digest.update(tensor, checkpoint.segment(tensor.canonicalName()), maxDataBytes);
    }
    return HexFormat.of().formatHex(sha256.digest());
  }

  private void update(CheckpointTensor tensor, MemorySegment data, long maxDataBytes) {
    TensorInfo info = tensor.info();
    text(tensor.canonicalName());
    text(info.dtype().name());
    number(info.shape().size());
    info.shape().forEach(this::number);
    number(info.byteCount());
    long end = Math.min(data.byteSize(), maxDataBytes);
    for (long from = 0; from < end; from += SLICE_BYTES) {
      digest.update(data.asSlice(from, Math.min(SLICE_BYTES, end - from)).asByteBuffer());
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
