package org.fishermerge.data.hub;

import java.security.SecureRandom;
import java.util.HexFormat;

/** Names that no other process or thread comes up with. */
final class UniqueName {
  private static final SecureRandom RANDOM = new SecureRandom();

  private UniqueName() {}

  static String next() {
    return HexFormat.of().toHexDigits(RANDOM.nextLong());
  }
}
