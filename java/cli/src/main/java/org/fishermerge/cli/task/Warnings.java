package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/**
 * Where a command's warnings go: to standard error, each of them once however often the same file
 * is opened. Safe for any number of threads.
 */
public final class Warnings implements Consumer<String> {
  private final PrintWriter err;
  private final Set<String> said = ConcurrentHashMap.newKeySet();

  public Warnings(PrintWriter err) {
    this.err = err;
  }

  /** What was said so far. */
  public List<String> said() {
    return said.stream().sorted().toList();
  }

  /** Says what is odd about an input but does not stop its use: a sentence for the user. */
  @Override
  public void accept(String warning) {
    if (said.add(warning)) {
      err.println("warning: " + warning);
    }
  }
}
