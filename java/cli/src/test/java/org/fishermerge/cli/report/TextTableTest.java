package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.cli.task.StyledWriter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tables as text, wide and narrow. */
final class TextTableTest {
  private static Table table() {
    List<List<Table.Cell>> rows = new ArrayList<>();
    for (String name : List.of("base", "a merge with a rather long name")) {
      rows.add(
          List.of(
              Table.name(name),
              Table.percent(0.388, 1),
              Table.percent(1.0, 1),
              Table.percent(0.5, 1)));
    }
    return new Table("", List.of("accuracy, %", "shapes", "stripes", "mean"), rows);
  }

  private static Stream<String> lines(Table table, int width) {
    return TextTable.of(table, width).stream()
        .map(TextTable.Piece::text)
        .collect(Collectors.joining())
        .lines();
  }

  @Test
  void whereThereIsRoomItIsOneBlock() {
    assertThat(lines(table(), StyledWriter.UNLIMITED))
        .containsExactly(
            "accuracy, %                      shapes  stripes  mean",
            "base                               38.8    100.0  50.0",
            "a merge with a rather long name    38.8    100.0  50.0");
  }

  @Test
  void otherwiseColumnsFollowBelow() {
    assertThat(lines(table(), 32))
        .containsExactly(
            "accuracy, %   shapes  stripes",
            "base            38.8    100.0",
            "a merge wit…    38.8    100.0",
            "",
            "accuracy, %   mean",
            "base          50.0",
            "a merge wit…  50.0");
  }

  @ParameterizedTest
  @ValueSource(ints = {20, 24, 33, 40, 61, 80})
  void noLineIsWiderThanTheTerminal(int width) {
    assertThat(lines(table(), width))
        .allSatisfy(line -> assertThat(line.length()).isLessThanOrEqualTo(width));
  }

  /** A column of words that is wider than what long names leave of the line. */
  @ParameterizedTest
  @ValueSource(ints = {20, 50, 80})
  void longCellsBesideLongNamesAreCut(int width) {
    Table table =
        new Table(
            "",
            List.of("run", "rules"),
            List.of(List.of(Table.name("n".repeat(16)), Table.name("rule ".repeat(40)))));
    assertThat(lines(table, width))
        .allSatisfy(line -> assertThat(line.length()).isLessThanOrEqualTo(width));
  }

  @Test
  void cellsThatStandOutArePiecesOfTheirOwn() {
    Table table =
        new Table(
            "",
            List.of("run", "mean"),
            List.of(List.of(Table.name("a"), Table.percent(0.5, 1).asStrong())));
    assertThat(TextTable.of(table, 40))
        .filteredOn(TextTable.Piece::strong)
        .containsExactly(new TextTable.Piece("50.0", true));
  }

  /** What the terminal gets, and what a pipe does. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void onlyAStyledWriterWritesStyles(boolean styled) {
    StringWriter text = new StringWriter();
    try (StyledWriter out = new StyledWriter(text, text, styled, () -> StyledWriter.UNLIMITED)) {
      StyledWriter.strong(out, "50.0");
      out.print(" end");
    }
    assertThat(text).hasToString(styled ? "\u001b[1m50.0\u001b[0m end" : "50.0 end");
  }

  @Test
  void fixedDecimalsAreThoseOfFormat() {
    for (double value : new double[] {0, 0.04, 0.06, 38.849, -12.34, -0.01, 99.96, 100, 1234.56}) {
      assertThat(Table.fixed(value, 1))
          .isEqualTo(String.format(Locale.ROOT, "%.1f", value).replaceAll("^-(0\\.0)$", "$1"));
    }
  }
}
