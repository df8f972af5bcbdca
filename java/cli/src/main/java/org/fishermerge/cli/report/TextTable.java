package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.Table.Cell;
import org.fishermerge.cli.task.StyledWriter;

/**
 * A table as text. One that is wider than the terminal is cut into blocks of columns, one below the
 * other, each with the rows' names; names take a third of the width at most.
 */
final class TextTable {
  private static final Piece END = new Piece("\n", false);
  private static final int GAP = 2;
  private static final int LEAST_NAME = 12;

  private final Table table;
  private final int width;

  /** Width of the first column. */
  private final int names;

  private TextTable(Table table, int width) {
    this.table = table;
    this.width = width;
    int widest = widest(0);
    this.names =
        width == StyledWriter.UNLIMITED
            ? widest
            : Math.min(widest, Math.max(LEAST_NAME, width / 3));
  }

  /** A part of a line. */
  record Piece(String text, boolean strong) {}

  /**
   * The lines in pieces, the last of each a line break.
   *
   * @param width columns of the terminal, or {@link StyledWriter#UNLIMITED}
   */
  static List<Piece> of(Table table, int width) {
    return new TextTable(table, width).pieces();
  }

  private List<Piece> pieces() {
    List<Piece> pieces = new ArrayList<>();
    int from = 1;
    while (from < table.columns().size()) {
      List<Integer> block = new ArrayList<>();
      int used = names;
      while (from < table.columns().size()
          && (block.isEmpty() || used + GAP + width(from) <= width)) {
        used += GAP + width(from);
        block.add(from++);
      }
      if (!pieces.isEmpty()) {
        pieces.add(END);
      }
      line(pieces, block, table.columns().stream().map(Table::name).toList());
      for (List<Cell> row : table.rows()) {
        line(pieces, block, row);
      }
    }
    return pieces;
  }

  private int width(int column) {
    int widest = widest(column);
    return width == StyledWriter.UNLIMITED
        ? widest
        : Math.min(widest, Math.max(1, width - names - GAP));
  }

  private int widest(int column) {
    int widest = length(table.columns().get(column));
    for (List<Cell> row : table.rows()) {
      widest = Math.max(widest, length(row.get(column).text()));
    }
    return widest;
  }

  /** Words begin at the left, numbers end at the right. */
  private boolean words(int column) {
    return table.rows().stream().noneMatch(row -> row.get(column).isNumber());
  }

  private static int length(String text) {
    return text.codePointCount(0, text.length());
  }

  private void line(List<Piece> pieces, List<Integer> block, List<Cell> cells) {
    String first = cut(cells.getFirst().text(), names);
    pieces.add(new Piece(first, cells.getFirst().strong()));
    int blank = names - length(first);
    for (int column : block) {
      int to = width(column);
      String cell = cut(cells.get(column).text(), to);
      int padding = to - length(cell);
      boolean left = words(column);
      // Blanks at the end of a line are left out.
      pieces.add(new Piece(" ".repeat(blank + GAP + (left ? 0 : padding)), false));
      pieces.add(new Piece(cell, cells.get(column).strong()));
      blank = left ? padding : 0;
    }
    pieces.add(END);
  }

  private static String cut(String cell, int to) {
    return length(cell) <= to ? cell : cell.substring(0, cell.offsetByCodePoints(0, to - 1)) + "…";
  }
}
