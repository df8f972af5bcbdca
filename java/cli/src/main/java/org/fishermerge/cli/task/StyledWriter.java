package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.io.Writer;
import java.util.function.IntSupplier;

/**
 * Text in which some parts stand out, where whoever reads it has a terminal with colours. The
 * styles are written beside the writer of the text, which may escape what a terminal would obey.
 */
public final class StyledWriter extends PrintWriter {
  private static final String BOLD = "\u001b[1m";
  private static final String PLAIN = "\u001b[0m";

  /** Where lines may be as long as they like: a file or a pipe. */
  public static final int UNLIMITED = Integer.MAX_VALUE;

  private final PrintWriter raw;
  private final boolean styled;
  private final IntSupplier columns;

  /**
   * A writer.
   *
   * @param text what is printed goes there
   * @param raw to which {@code text} writes, and to which styles go
   * @param styled whether there are to be any
   * @param columns of the terminal that it leads to, or {@link #UNLIMITED}
   */
  public StyledWriter(Writer text, Writer raw, boolean styled, IntSupplier columns) {
    super(text, true);
    this.raw = new PrintWriter(raw);
    this.styled = styled;
    this.columns = columns;
  }

  /** Whether parts of the text stand out. */
  public boolean isStyled() {
    return styled;
  }

  /** Writes what has styles of its own, as it is. */
  public PrintWriter raw() {
    flush();
    return raw;
  }

  /** How long lines may be. */
  public static int columns(PrintWriter out) {
    return out instanceof StyledWriter writer ? writer.columns.getAsInt() : UNLIMITED;
  }

  /** Prints text that stands out where it can. */
  public static void strong(PrintWriter out, String text) {
    if (out instanceof StyledWriter writer && writer.styled) {
      writer.style(BOLD);
      writer.print(text);
      writer.style(PLAIN);
    } else {
      out.print(text);
    }
  }

  private void style(String sequence) {
    raw().write(sequence);
    raw.flush();
  }
}
