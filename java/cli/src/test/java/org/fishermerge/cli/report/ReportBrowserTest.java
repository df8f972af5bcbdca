package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.fishermerge.cli.task.JsonReport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Pages in a browser. */
final class ReportBrowserTest {
  private static final List<String> HOSTILE =
      List.of(
          "<img src=x onerror=\"window.broken=1\">",
          "</script><script>window.broken=1</script>",
          "' onpointerenter='window.broken=1' \" autofocus onfocus=\"window.broken=1",
          "\u202egnp.exe \u2066\u05e9\u05dc\u05d5\u05dd",
          "\u0000\u0007\u001b[31mred\nline",
          "x".repeat(400));

  @TempDir Path folder;

  @Test
  void hostileNamesAreTextAndLargeReportsAreFine() throws IOException {
    Assumptions.assumeTrue(Browser.isThere(), Browser.MISSING);
    RunReport hostile = ReportSamples.whole(HOSTILE, 3, 5);
    Path page = folder.resolve("hostile <b>.html");
    Path json = folder.resolve("hostile.json");
    Files.writeString(page, ReportPage.of(hostile));
    Files.writeString(json, JsonReport.text(ReportJson.addTo(JsonReport.object(), hostile)));
    RunReport large =
        ReportSamples.whole(IntStream.range(0, 8).mapToObj(i -> "model-" + i).toList(), 24, 6);
    Path largePage = folder.resolve("large.html");
    Files.writeString(largePage, ReportPage.of(large));
    Browser browser = Browser.open();
    browser.checkQuiet(page);
    browser.checkNumbers(page, json);
    assertThat(browser.evaluate("return typeof window.broken")).isEqualTo("undefined");
    Object names =
        browser.evaluate(
            "return [...document.querySelectorAll('tbody th')].map(h => h.textContent)");
    // Each name is in the table of models as it is, but for what is not seen.
    for (String name : HOSTILE) {
      assertThat(names)
          .asInstanceOf(InstanceOfAssertFactories.LIST)
          .contains(HtmlWriter.visible(name));
    }
    browser.checkQuiet(largePage);
    assertThat(browser.evaluate("return document.querySelectorAll('.plot rect').length"))
        .asInstanceOf(InstanceOfAssertFactories.LONG)
        .isGreaterThan(8 * 24 * 8L);
  }
}
