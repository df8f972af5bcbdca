package org.fishermerge.cli.report;

import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.Table.Cell;

/**
 * A table as text. One that is wider than the terminal is cut into blocks of columns, one below the
 * other, each with the rows' names; names take a third of the width at most.
 */
final class TextTable {
  /** Where lines may be as long as they like: a file or a pipe. */
  static final int UNLIMITED = Integer.MAX_VALUE;

  private static final int GAP = 2;
  private static final int LEAST_NAME = 12;

  private final Table table;
  private final int width;

  private TextTable(Table table, int width) {
    this.table = table;
    this.width = width;
  }

  /**
   * The lines, each ended.
   *
   * @param width columns of the terminal
   */
  static String of(Table table, int width) {
    return new TextTable(table, width).text();
  }

  private String text() {
    int names = width(0);
    if (width != UNLIMITED) {
      names = Math.min(names, Math.max(LEAST_NAME, width / 3));
    }
    StringBuilder text = new StringBuilder();
    int from = 1;
    while (from < table.columns().size()) {
      List<Integer> block = new ArrayList<>();
      int used = names;
      while (from < table.columns().size()
          && (block.isEmpty() || used + GAP + width(from) <= width)) {
        used += GAP + width(from);
        block.add(from++);
      }
      if (!text.isEmpty()) {
        text.append('\n');
      }
      line(text, names, block, table.columns());
      for (List<Cell> row : table.rows()) {
        line(text, names, block, row.stream().map(Cell::text).toList());
      }
    }
    return text.toString();
  }

  private int width(int column) {
    int widest = length(table.columns().get(column));
    for (List<Cell> row : table.rows()) {
      widest = Math.max(widest, length(row.get(column).text()));
    }
    return width == UNLIMITED ? widest : Math.min(widest, Math.max(1, width - LEAST_NAME - GAP));
  }

  /** Words begin at the left, numbers end at the right. */
  private boolean words(int column) {
    return table.rows().stream().noneMatch(row -> row.get(column).isNumber());
  }

  private static int length(String text) {
    return text.codePointCount(0, text.length());
  }

  private void line(StringBuilder text, int names, List<Integer> block, List<String> cells) {
    StringBuilder line = new StringBuilder(pad(cut(cells.getFirst(), names), names, false));
    for (int column : block) {
      int to = width(column);
      line.append(" ".repeat(GAP)).append(pad(cut(cells.get(column), to), to, !words(column)));
    }
    text.append(line.toString().stripTrailing()).append('\n');
  }

  private static String cut(String cell, int to) {
    return length(cell) <= to ? cell : cell.substring(0, cell.offsetByCodePoints(0, to - 1)) + "…";
  }

  private static String pad(String cell, int to, boolean left) {
    String blank = " ".repeat(Math.max(0, to - length(cell)));
    return left ? blank + cell : cell + blank;
  }
}
