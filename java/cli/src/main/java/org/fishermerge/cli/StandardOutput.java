package org.fishermerge.cli;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/** Standard output that remembers whether all of it could be written. Not for several threads. */
final class StandardOutput extends OutputStream {
  private static final String READER_IS_GONE = "Broken pipe";

  private final FileOutputStream out = new FileOutputStream(FileDescriptor.out);
  private @Nullable IOException failure;

  @Override
  public void write(int b) throws IOException {
    write(new byte[] {(byte) b}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int from, int count) throws IOException {
    try {
      out.write(bytes, from, count);
    } catch (IOException e) {
      failure = failure == null ? e : failure;
      throw e;
    }
  }

  /**
   * What the process ends with: a result that could not be told is a failure. A reader that has
   * seen enough, such as {@code head}, needs no message.
   *
   * @param code of the command itself
   */
  int exitCode(int code, PrintStream err) {
    IOException met = failure;
    if (met == null || code != 0) {
      return code;
    }
    if (!READER_IS_GONE.equals(met.getMessage())) {
      err.println("fisher-merge: standard output cannot be written: " + Reasons.of(met));
    }
    return Main.FAILED;
  }
}
