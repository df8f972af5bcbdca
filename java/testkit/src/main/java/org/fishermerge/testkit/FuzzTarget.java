package org.fishermerge.testkit;

import java.util.List;

/**
 * Something that takes bytes of strangers. Whatever they are, it succeeds or refuses them with a
 * message; anything else is thrown by {@link #run} and is a finding.
 */
public interface FuzzTarget {
  /** Valid inputs and such as were findings once. */
  List<byte[]> seeds();

  /** Tries one input. */
  void run(byte[] input);
}
