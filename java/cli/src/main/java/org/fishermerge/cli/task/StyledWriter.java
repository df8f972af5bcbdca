package org.fishermerge.cli.task;

import java.io.PrintWriter;
import java.io.Writer;

/**
 * Text in which some parts stand out, where whoever reads it has a terminal with colours. The
 * styles are written beside the writer of the text, which may escape what a terminal would obey.
 */
public final class StyledWriter extends PrintWriter {
  private static final String BOLD = "\u001b[1m";
  private static final String PLAIN = "\u001b[0m";

  private final PrintWriter terminal;
  private final boolean styled;

  /**
   * A writer.
   *
   * @param text what is printed goes there
   * @param terminal to which {@code text} writes, and to which styles go
   * @param styled whether there are to be any
   */
  public StyledWriter(Writer text, Writer terminal, boolean styled) {
    super(text, true);
    this.terminal = new PrintWriter(terminal);
    this.styled = styled;
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
    flush();
    terminal.write(sequence);
    terminal.flush();
  }
}
