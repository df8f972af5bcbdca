package org.fishermerge.checkpoint;

import java.nio.file.Path;

/** Reads headers in a process of its own, whose heap is limited, and prints what came of each. */
public final class HeaderProcess {
  private HeaderProcess() {}

  public static void main(String[] files) {
    for (String file : files) {
      try {
        System.out.println(SafetensorsHeader.read(Path.of(file)).tensors().size());
      } catch (InputException e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
