package org.fishermerge.estimate;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;

/** A SHA-256 over parts, each told apart from the next by its length. */
public final class ContentKey {
  /** Larger files are told apart by their ends, size and time of change. */
  private static final long WHOLE = 64L << 20;

  private static final int END = 1 << 20;

  /** In the hub's cache a file's name is the hash of its content. */
  private static final Pattern HASH = Pattern.compile("[0-9a-f]{64}");

  private final MessageDigest digest;

  public ContentKey(String scheme) {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
    add(scheme);
  }

  private ContentKey(MessageDigest digest) {
    this.digest = digest;
  }

  /** A key of its own with the parts that were added so far. */
  public ContentKey copy() {
    try {
      return new ContentKey((MessageDigest) digest.clone());
    } catch (CloneNotSupportedException e) {
      throw new AssertionError("the JDK's SHA-256 can be copied", e);
    }
  }

  public ContentKey add(Object part) {
    byte[] utf8 = String.valueOf(part).getBytes(StandardCharsets.UTF_8);
    digest.update(ByteBuffer.allocate(Integer.BYTES).putInt(utf8.length).array());
    digest.update(utf8);
    return this;
  }

  /** What a file holds. */
  public ContentKey addFile(Path file) {
    try {
      String name = Objects.toString(file.toRealPath().getFileName(), "");
      long size = Files.size(file);
      add(size);
      if (HASH.matcher(name).matches()) {
        return add(name);
      }
      if (size <= WHOLE) {
        try (InputStream in = Files.newInputStream(file)) {
          byte[] buffer = new byte[1 << 16];
          for (int read = in.read(buffer); read > 0; read = in.read(buffer)) {
            digest.update(buffer, 0, read);
          }
        }
        return this;
      }
      add(Files.getLastModifiedTime(file));
      try (FileChannel channel = FileChannel.open(file)) {
        for (long from : new long[] {0, size - END}) {
          ByteBuffer buffer = ByteBuffer.allocate(END);
          while (buffer.hasRemaining() && channel.read(buffer, from + buffer.position()) > 0) {}
          digest.update(buffer.flip());
        }
      }
      return this;
    } catch (IOException e) {
      throw new InputException(file + ": cannot be read: " + Reasons.of(e), e);
    }
  }

  /** Files of a folder, those of them that exist. */
  public ContentKey addFiles(Path folder, List<String> names) {
    for (String name : names) {
      Path file = folder.resolve(name);
      add(name);
      if (Files.isRegularFile(file)) {
        addFile(file);
      }
    }
    return this;
  }

  /** 64 hexadecimal digits; the key cannot be added to afterwards. */
  public String hex() {
    return HexFormat.of().formatHex(digest.digest());
  }
}
