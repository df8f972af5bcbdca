package org.fishermerge.data.hub;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * How the hub's entity tags tell what a file must contain. Files in Git LFS are tagged with the
 * SHA-256 of their content, 64 hex digits; small ones with their Git blob id, 40 hex digits: the
 * SHA-1 of {@code "blob <length>\0"} and the content. Other tags say nothing about the content.
 */
enum ContentHash {
  SHA256,
  GIT_BLOB,
  NONE;

  private static final Pattern HEX = Pattern.compile("[0-9a-f]+");

  static ContentHash of(String tag) {
    if (!HEX.matcher(tag).matches()) {
      return NONE;
    }
    return switch (tag.length()) {
      case 64 -> SHA256;
      case 40 -> GIT_BLOB;
      default -> NONE;
    };
  }

  /** For messages. */
  String words() {
    return switch (this) {
      case SHA256 -> "SHA-256";
      case GIT_BLOB -> "Git blob id";
      case NONE -> throw new IllegalStateException("no hash");
    };
  }

  /** The hash of a whole file. */
  String of(Path file) throws IOException {
    MessageDigest digest =
        switch (this) {
          case SHA256 -> sha256();
          case GIT_BLOB -> gitBlob(Files.size(file));
          case NONE -> throw new IllegalStateException("no hash");
        };
    try (InputStream in = Files.newInputStream(file)) {
      byte[] buffer = new byte[1 << 20];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
      }
    }
    return hex(digest);
  }

  static MessageDigest sha256() {
    return digest("SHA-256");
  }

  private static MessageDigest gitBlob(long size) {
    MessageDigest digest = digest("SHA-1");
    digest.update(
        String.format(Locale.ROOT, "blob %d\0", size).getBytes(StandardCharsets.US_ASCII));
    return digest;
  }

  static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has it", e);
    }
  }
}
