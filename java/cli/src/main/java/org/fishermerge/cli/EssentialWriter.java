package org.fishermerge.cli;

import java.io.IOException;
import java.io.Writer;
import java.util.regex.Pattern;

/** Standard error of a quiet command: of whole lines, those that warn or tell of an error. */
final class EssentialWriter extends Writer {
  private static final Pattern ESSENTIAL =
      Pattern.compile("(fisher-merge|warning|[^:]+: warning): .*|This may be a defect.*|\\s+at .*");

  private final Writer out;
  private final StringBuilder line = new StringBuilder();

  EssentialWriter(Writer out) {
    this.out = out;
  }

  @Override
  public void write(char[] text, int from, int count) throws IOException {
    for (int i = from; i < from + count; i++) {
      if (text[i] == '\n') {
        if (ESSENTIAL.matcher(line).matches()) {
          out.write(line + "\n");
        }
        line.setLength(0);
      } else {
        line.append(text[i]);
      }
    }
  }

  @Override
  public void flush() throws IOException {
    out.flush();
  }

  @Override
  public void close() throws IOException {
    out.close();
  }
}
