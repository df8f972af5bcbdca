package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is in a page, without a browser. */
final class ReportPageTest {
  private static final int MOST_BYTES = 1_000_000;

  /** Of eight models with 24 layers, 384 tensors. */
  @Test
  void aLargeReportIsUnderAMegabyteAndFetchesNothing() {
    List<String> names = IntStream.range(0, 8).mapToObj(i -> "model-" + i).toList();
    String page = ReportPage.of(ReportSamples.whole(names, 24, 1));
    assertThat(page.getBytes(StandardCharsets.UTF_8).length).isLessThan(MOST_BYTES);
    assertThat(page)
        .contains("default-src &#39;none&#39;")
        .contains("Copyright 2010-2023 Mike Bostock")
        .doesNotContainPattern("(?i)<(script|link|img)[^>]* src=")
        .doesNotContainPattern("(?i)@import|@font-face");
    // One block of cells for each kind and layer, which eight models share.
    assertThat(page).contains("self_attn.q_proj", "encoder.layers.23");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "<script>window.broken=1</script>",
        "</script><script>window.broken=1</script>",
        "\"><img src=x onerror=window.broken=1>",
        "' onmouseover='window.broken=1",
        "<!--",
        "]]>",
        "{{x}} ${x} &lt;b&gt;",
      })
  void markupInNamesIsText(String name) {
    String page = ReportPage.of(ReportSamples.whole(List.of(name, "plain"), 2, 2));
    String harmless = ReportPage.of(ReportSamples.whole(List.of("name", "plain"), 2, 2));
    // Elements and attributes are those of a page with other names.
    Pattern tags = Pattern.compile("<[a-z/!][^>]*>", Pattern.CASE_INSENSITIVE);
    assertThat(count(tags, withoutData(page))).isEqualTo(count(tags, withoutData(harmless)));
    assertThat(count(Pattern.compile("(?i)<script"), page))
        .isEqualTo(count(Pattern.compile("(?i)<script"), harmless));
    assertThat(withoutData(page)).doesNotContain(name.contains("<") ? name : "\u0000");
    assertThat(page)
        .contains(
            name.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;"));
  }

  /** Scripts apart, whose text is not read as markup up to their end. */
  private static String withoutData(String page) {
    return Pattern.compile("<script.*?</script>", Pattern.DOTALL).matcher(page).replaceAll("");
  }

  private static long count(Pattern pattern, String text) {
    return pattern.matcher(text).results().count();
  }

  @Test
  void whatIsNotSeenIsShown() {
    assertThat(HtmlWriter.visible("a\u0000b\tc\nd\u001b[31m\u007f\u0085"))
        .isEqualTo("a\u2400b\u2409c\u240ad\u241b[31m\u2421\\u0085");
    // Right-to-left letters are text; marks that turn what follows around are shown.
    assertThat(HtmlWriter.visible("\u05d0\u05d1 \u202egnp.exe\u2066\ufeff"))
        .isEqualTo("\u05d0\u05d1 \\u202egnp.exe\\u2066\\ufeff");
    assertThat(HtmlWriter.visible("\ud800")).isEqualTo("\\ud800");
    assertThat(HtmlWriter.visible("\u0645\u06cc\u200c\u062e"))
        .isEqualTo("\u0645\u06cc\u200c\u062e");
  }

  @Test
  void veryLongNamesLeaveThePageSmall() {
    String name = "x".repeat(5000);
    String page = ReportPage.of(ReportSamples.whole(List.of(name, "b"), 2, 3));
    assertThat(page.length()).isLessThan(MOST_BYTES);
    assertThat(page).contains(name);
  }

  @Test
  void partsWithoutContentAreLeftOut() {
    RunReport empty = new ReportBuilder("merge", List.of()).build();
    assertThat(ReportPage.of(empty))
        .doesNotContain("Who decides where", "Accuracy by task", "<figure", "d3js");
  }

  @Test
  void jsonHasNoInfinity() {
    RunReport report =
        new ReportBuilder("merge", List.of())
            .stage(new RunReport.Stage("a", Double.NaN, null, null, null, null, null, null))
            .build();
    ObjectNode json = ReportJson.of(report);
    assertThat(json.toString()).doesNotContain("NaN", "null");
  }

  @Test
  void figuresLeaveOutWhatIsNotFinite() {
    List<Double> values = List.of(2.0, Double.POSITIVE_INFINITY, Double.NaN);
    List<RunReport.Try> tries =
        values.stream().map(value -> new RunReport.Try(null, null, null, value, null)).toList();
    RunReport.Search search = new RunReport.Search("kl", List.of(), tries, 0, null);
    assertThat(ReportFigures.search(search).toString())
        .contains("\"value\":2.0")
        .doesNotContain("Infinity", "NaN");
    RunReport.FisherSizes sizes =
        new RunReport.FisherSizes(
            List.of("a", "b"),
            List.of(new RunReport.FisherLayer("x", 1, List.of(3.0, Double.POSITIVE_INFINITY))));
    assertThat(ReportFigures.fishers(sizes).toString()).contains("3.0").doesNotContain("Infinity");
  }

  @Test
  void layersWithoutSumsInSomeFileHaveNoRootMeanSquare() {
    RunReport.Statistic file = new RunReport.Statistic("f", null, null, null, null, null);
    StatisticFacts.Squares squares = new StatisticFacts.Squares(4, 16);
    StatisticFacts whole = new StatisticFacts(file, null, Map.of("x", squares, "y", squares));
    StatisticFacts half = new StatisticFacts(file, null, Map.of("y", squares));
    StatisticFacts bare = new StatisticFacts(file, null, Map.of());
    List<String> names = List.of("a", "b");
    assertThat(StatisticFacts.sizes(List.of(whole, half), names))
        .isEqualTo(
            new RunReport.FisherSizes(
                names, List.of(new RunReport.FisherLayer("y", 4, List.of(2.0, 2.0)))));
    assertThat(StatisticFacts.sizes(List.of(whole, bare), names)).isNull();
  }
}
