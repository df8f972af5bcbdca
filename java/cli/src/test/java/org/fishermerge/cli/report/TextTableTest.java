package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
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
    assertThat(lines(table(), TextTable.UNLIMITED))
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
}
