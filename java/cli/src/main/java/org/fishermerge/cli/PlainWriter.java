package org.fishermerge.cli;

import java.io.FilterWriter;
import java.io.IOException;
import java.io.Writer;
import java.util.Locale;

/**
 * Text for a terminal. Names from strangers' files get into it, whose control characters could move
 * its cursor or change its title; they are written as escapes.
 */
final class PlainWriter extends FilterWriter {
  PlainWriter(Writer out) {
    super(out);
  }

  @Override
  public void write(int c) throws IOException {
    char character = (char) c;
    if (Character.isISOControl(character) && "\n\r\t".indexOf(character) < 0) {
      out.write(String.format(Locale.ROOT, "\\u%04x", (int) character));
    } else {
      out.write(character);
    }
  }

  @Override
  public void write(char[] text, int from, int count) throws IOException {
    for (int i = from; i < from + count; i++) {
      write(text[i]);
    }
  }

  @Override
  public void write(String text, int from, int count) throws IOException {
    for (int i = from; i < from + count; i++) {
      write(text.charAt(i));
    }
  }
}
