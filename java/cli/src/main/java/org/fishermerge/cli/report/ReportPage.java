package org.fishermerge.cli.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Interval;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Origin;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.report.RunReport.Row;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.cli.report.Table.Cell;
import org.jspecify.annotations.Nullable;

/**
 * A report as one HTML file that needs nothing else: no network, no font, no other file. Without
 * scripts, and for a screen reader, it is its tables.
 */
final class ReportPage {
  /** Longer tables are folded away. */
  private static final int LONGEST_OPEN = 14;

  /** Longer texts break into lines. */
  private static final int WIDE = 28;

  /** Breaks on paper, if it is a heading. */
  private static final Pattern LONG_WORD = Pattern.compile("\\S{17}");

  private final RunReport report;
  private final List<Table> first;
  private final HtmlWriter html = new HtmlWriter();
  private boolean drawn;

  private ReportPage(RunReport report, List<Table> first) {
    this.report = report;
    this.first = first;
  }

  /** The page of a report. */
  static String of(RunReport report) {
    return of(report, List.of());
  }

  /**
   * The same.
   *
   * @param first tables that come before everything else
   */
  static String of(RunReport report, List<Table> first) {
    return new ReportPage(report, first).page();
  }

  private String page() {
    String title = title();
    html.raw("<!doctype html>\n").open("html", "lang", "en").open("head");
    html.tag("meta", "charset", "utf-8");
    // Nothing is fetched, whatever a name in it tries.
    html.tag(
        "meta",
        "http-equiv",
        "Content-Security-Policy",
        "content",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:");
    html.tag("meta", "name", "viewport", "content", "width=device-width, initial-scale=1");
    html.tag("meta", "name", "generator", "content", report.origin().tool());
    html.tag("link", "rel", "icon", "href", "data:,");
    html.element("title", title + " – fisher-merge");
    html.open("style").raw(Resources.STYLE).close();
    html.close().line().open("body");
    header(title);
    html.open("main");
    first.forEach(table -> {
      heading(table.title());
      table(table);
    });
    Accuracies accuracies = report.accuracies();
    if (accuracies != null && !accuracies.rows().isEmpty()) {
      accuracies(accuracies);
    }
    if (!report.shares().isEmpty()) {
      shares(report.shares());
    }
    FisherSizes fishers = report.fishers();
    Similarities similarity = report.similarity();
    if (fishers != null || similarity != null) {
      fishers(fishers, similarity);
    }
    Search search = report.search();
    if (search != null) {
      search(search);
    }
    merged();
    stages(report.stages());
    warnings(report.warnings());
    html.close();
    footer();
    if (drawn) {
      // What a library's licence asks to be said goes with it.
      html.open("script").raw("/*\n" + Resources.D3_LICENCE + "*/\n" + Resources.D3).close();
      html.open("script").raw(Resources.SCRIPT).close();
    }
    return html.close().close().line().toString();
  }

  // ---- what comes first ----

  private String title() {
    String what =
        switch (report.command()) {
          case "demo" -> "Demo: eight models, merged";
          case "similarity" -> "Similarity of Fishers";
          case "search" -> "Search of a merge";
          case "evaluate" -> "Evaluation";
          case "compare" -> "Runs side by side";
          default -> "Merge";
        };
    long models = report.models().stream().filter(model -> !model.base()).count();
    boolean counted = models > 1 && !report.command().equals("demo");
    return counted
        ? what + " of " + models + (what.startsWith("Sim") ? " tasks" : " models")
        : what;
  }

  private void header(String title) {
    html.open("header").element("h1", title);
    Origin origin = report.origin();
    html.open("p", "class", "soft").text("fisher-merge " + report.command());
    if (origin.started() != null) {
      html.text(", " + origin.started().replace('T', ' ').replace("Z", " UTC"));
    }
    if (origin.seconds() != null) {
      html.text(", took ");
      data(Table.digits(origin.seconds(), "%.1f"));
      html.text(" s");
    }
    html.close();
    List<String[]> facts = headline();
    if (!facts.isEmpty()) {
      html.open("dl", "class", "headline");
      for (String[] fact : facts) {
        html.open("div").element("dt", fact[0]).open("dd").text(fact[1]);
        html.open("small").text(fact[2]).close().close().close();
      }
      html.close();
    }
    html.close().line();
  }

  private static String[] fact(String name, String value, String more) {
    return new String[] {name, value, more};
  }

  /** What a reader looks for: a name, a number, and what it means. */
  private List<String[]> headline() {
    List<String[]> facts = new ArrayList<>();
    Accuracies accuracies = report.accuracies();
    if (accuracies != null) {
      row(Role.THIS)
          .ifPresent(row -> {
            Measure mean = row.mean();
            if (mean != null) {
              Interval interval = mean.interval();
              facts.add(
                  fact(
                      report.command().equals("evaluate") ? "accuracy" : "mean accuracy",
                      Table.percentText(mean.accuracy(), 1) + " %",
                      interval == null
                          ? row.name()
                          : row.name()
                              + ", "
                              + Table.percentText(interval.low(), 1)
                              + " to "
                              + Table.percentText(interval.high(), 1)));
            }
            Interval difference = row.meanDifference();
            if (difference != null) {
              facts.add(
                  fact(
                      "against the average",
                      points(difference.value()),
                      points(difference.low()) + " to " + points(difference.high())));
            }
            row(Role.OWN).flatMap(own -> loss(accuracies, own, row)).ifPresent(facts::add);
          });
    }
    Search search = report.search();
    if (search != null && !search.tries().isEmpty()) {
      Double value = search.tries().get(search.best()).value();
      if (value != null) {
        boolean kl = search.measure().equals("kl");
        facts.add(
            fact(
                kl ? "least divergence" : "best try",
                kl
                    ? String.format(Locale.ROOT, "%.4f nats", value)
                    : Table.percentText(value, 1) + " %",
                "try " + (search.best() + 1) + " of " + search.tries().size()));
      }
    }
    if (accuracies == null && report.merges().size() == 1) {
      Merge merge = report.merges().getFirst();
      if (merge.parameters() != null) {
        facts.add(
            fact(
                "parameters", String.format(Locale.ROOT, "%,d", merge.parameters()), merge.rule()));
      }
      if (merge.seconds() != null) {
        facts.add(fact("time", String.format(Locale.ROOT, "%.2f s", merge.seconds()), rate(merge)));
      }
    }
    return facts;
  }

  private static String rate(Merge merge) {
    return merge.bytesRead() == null || merge.bytesWritten() == null || merge.seconds() == null
        ? ""
        : String.format(
            Locale.ROOT,
            "%.2f GB/s read and written",
            (merge.bytesRead() + merge.bytesWritten()) / merge.seconds() / 1e9);
  }

  private static String points(double fraction) {
    return String.format(Locale.ROOT, "%+.1f points", 100 * fraction);
  }

  /** The task that lost most against its own model. */
  private static Optional<String[]> loss(Accuracies accuracies, Row own, Row row) {
    int worst = -1;
    double most = Double.POSITIVE_INFINITY;
    for (int t = 0; t < Math.min(own.measures().size(), row.measures().size()); t++) {
      double gain = row.measures().get(t).accuracy() - own.measures().get(t).accuracy();
      if (gain < most) {
        most = gain;
        worst = t;
      }
    }
    return worst < 0
        ? Optional.empty()
        : Optional.of(
            fact("lost most", accuracies.tasks().get(worst), points(most) + " against its own"));
  }

  private Optional<Row> row(Role role) {
    Accuracies accuracies = report.accuracies();
    return accuracies == null
        ? Optional.empty()
        : accuracies.rows().stream().filter(row -> row.role() == role).findFirst();
  }

  // ---- the parts ----

  private void accuracies(Accuracies accuracies) {
    heading("Accuracy by task");
    int examples = accuracies.rows().size() * accuracies.tasks().size();
    if (accuracies.tasks().size() > 1 && accuracies.rows().size() > 1) {
      figure(
          "Mean accuracy over the tasks, with 95 % intervals",
          ReportFigures.means(accuracies), accuracies.rows().size());
    }
    table(ReportTables.accuracies(accuracies));
    figure(
        ReportFigures.showsAll(accuracies)
            ? "Accuracy by task, with 95 % intervals"
            : "Accuracy by task, with 95 % intervals: base, own model, average and this merge",
        ReportFigures.byTask(accuracies),
        examples);
    List<Row> compared =
        accuracies.rows().stream()
            .filter(row ->
                row.role() == Role.THIS || (row.role() == Role.OTHER && row(Role.THIS).isEmpty()))
            .filter(row -> row.differences() != null && !row.differences().isEmpty())
            .toList();
    if (!compared.isEmpty()) {
      html.element("h3", "Difference to the average");
      html.element(
          "p",
          "Both are measured on the same examples, and agree more than independent ones would: the"
              + " intervals are wider than they need be. One that crosses zero may be chance.",
          "class",
          "soft");
    }
    for (Row row : compared) {
      figure(
          HtmlWriter.visible(row.name()) + " minus the average, with 95 % intervals",
          ReportFigures.differences(accuracies, row),
          accuracies.tasks().size());
    }
    folded("All numbers: intervals, counts and losses", ReportTables.measures(accuracies));
  }

  private void shares(List<Shares> all) {
    heading("Who decides where");
    html.element(
        "p",
        "The share of each model's weight in the merge, by layer and kind of parameter: the mean"
            + " over a sample of the values, or of layers that were solved for the model's part of"
            + " the trace of the layer's system. In a plain average all would be equal.",
        "class",
        "soft");
    for (Shares shares : all) {
      if (all.size() > 1) {
        html.open("h3").name(shares.merge()).close();
      }
      figure(
          "Share of the weight, "
              + shares.merge()
              + ": a row for each model, a column for each layer",
          ReportFigures.shares(shares),
          shares.cells().size());
      folded("Shares as a table", ReportTables.shares(shares));
    }
  }

  private void fishers(@Nullable FisherSizes fishers, @Nullable Similarities similarity) {
    heading("Fisher information");
    if (fishers != null) {
      figure(
          "Root mean square of each Fisher by layer, on a logarithmic scale",
          ReportFigures.fishers(fishers),
          fishers.layers().size());
      folded("Sizes as a table", ReportTables.fishers(fishers));
    }
    if (similarity != null) {
      html.element("h3", "How alike tasks are");
      figure(
          "Overlap of Fishers: 1 where two tasks need the same parameters, 0 where none",
          ReportFigures.similarity(similarity),
          similarity.tasks().size());
      folded(
          "Overlap as a table",
          ReportTables.similarity("Overlap", similarity.tasks(), similarity.overlap()));
      folded(
          "Cosine as a table",
          ReportTables.similarity("Cosine", similarity.tasks(), similarity.cosine()));
    }
  }

  private void search(Search search) {
    heading("What was tried");
    if (!search.tries().isEmpty()) {
      html.open("p").text("The best was try ");
      data(Table.number(Integer.toString(search.best() + 1), search.best()));
      html.text(" of " + search.tries().size() + ".").close();
      figure("Each try, and the best so far", ReportFigures.search(search), search.tries().size());
      folded("Tries as a table", ReportTables.search(search));
    }
    if (search.check() != null) {
      html.element("h3", "On examples that the search did not see");
      table(ReportTables.check(search, search.check()));
    }
  }

  private void merged() {
    List<String> line = report.origin().line();
    boolean repeated = line != null && !line.isEmpty();
    if (report.models().isEmpty() && report.merges().isEmpty() && !repeated) {
      return;
    }
    heading(report.merges().isEmpty() ? "What was measured" : "What was merged");
    if (!report.models().isEmpty()) {
      table(ReportTables.models(report.models()));
      Table files = ReportTables.files(report.models());
      if (files.columns().size() > 1) {
        folded("Files and hashes", files);
      }
    }
    if (!report.merges().isEmpty()) {
      table(ReportTables.merges(report.merges()));
    }
    if (line != null && repeated) {
      html.element("h3", "To repeat it");
      html.open("pre", "tabindex", "0", "role", "region", "aria-label", "Command line");
      html.text(
          "fisher-merge " + line.stream().map(ShellWords::quote).collect(Collectors.joining(" ")));
      html.close();
    }
  }

  private void stages(List<Stage> stages) {
    if (stages.isEmpty()) {
      return;
    }
    heading("Time and memory");
    if (stages.size() > 1) {
      figure("Seconds of each stage", ReportFigures.seconds(stages), stages.size());
    }
    if (stages.stream().anyMatch(stage -> stage.plannedBytes() != null)) {
      figure(
          "Peak of memory beside what was planned, of stages that have a plan",
          ReportFigures.memory(stages),
          stages.size());
    }
    table(ReportTables.stages(stages));
    List<String> notes = new ArrayList<>();
    if (stages.stream().anyMatch(stage -> stage.plainRate() != null)) {
      notes.add(
          "Plain reading is how fast one thread that does nothing else reads some of the same files"
              + " again, right after the merge.");
    }
    if (stages.stream().anyMatch(stage -> stage.bytesFromDisk() != null)) {
      notes.add(
          "From disk is what Linux fetched from storage meanwhile; the rest was in its page cache.");
    }
    if (stages.stream().anyMatch(stage -> stage.peakBytes() != null)) {
      notes.add(
          "Memory is that of the process which no file backs, looked at twenty times a second; mapped"
              + " model files do not count, neither here nor in the plan.");
    }
    if (!notes.isEmpty()) {
      html.element("p", String.join(" ", notes), "class", "soft");
    }
  }

  private void warnings(List<String> warnings) {
    if (!warnings.isEmpty()) {
      heading("Warnings");
      html.open("ul", "class", "warnings");
      warnings.forEach(warning -> html.element("li", warning));
      html.close();
    }
  }

  private void footer() {
    html.open("footer").open("p");
    html.text(report.origin().tool());
    if (report.origin().java() != null) {
      html.text(", Java " + report.origin().java());
    }
    if (report.origin().seed() != null) {
      html.text(", seed ");
      data(Table.number(report.origin().seed().toString(), report.origin().seed()));
    }
    html.text(". Report schema ");
    data(Table.number(Integer.toString(report.schema()), report.schema()));
    html.text(".").close().close().line();
  }

  // ---- building blocks ----

  private void heading(String text) {
    html.line().element("h2", text);
  }

  private void figure(String label, JsonObject data, int marks) {
    if (marks == 0) {
      return;
    }
    drawn = true;
    html.open("figure", "data-label", label).element("figcaption", label);
    html.open("div", "class", "plot").close();
    html.open("div", "class", "tip", "role", "status").close();
    // The only character that could end the element early.
    html.open("script", "type", "application/json")
        .raw(data.toString().replace("<", "\\u003c"))
        .close();
    html.close().line();
  }

  private void data(Cell cell) {
    String[] numbers = cell.numbers().toArray(String[]::new);
    html.element("data", cell.text(), "value", String.join(" ", numbers));
  }

  private void folded(String summary, Table table) {
    if (table.rows().isEmpty()) {
      return;
    }
    html.open("details").element("summary", summary);
    write(table);
    html.close();
  }

  private void table(Table table) {
    if (table.rows().size() > LONGEST_OPEN) {
      folded(table.title(), table);
    } else {
      write(table);
    }
  }

  private void write(Table table) {
    // A table wider than the screen scrolls by itself, by keyboard too.
    html.open(
        "div", "class", "scroll", "tabindex", "0", "role", "region", "aria-label", table.title());
    html.open("table").element("caption", table.title()).open("thead").open("tr");
    boolean[] words = new boolean[table.columns().size()];
    boolean[] wide = new boolean[table.columns().size()];
    for (int c = 0; c < words.length; c++) {
      int column = c;
      words[c] = table.rows().stream().noneMatch(row -> row.get(column).isNumber());
      wide[c] = table.rows().stream().anyMatch(row -> row.get(column).text().length() > WIDE);
      String heading = table.columns().get(c);
      html.open(
              "th",
              "scope",
              "col",
              "class",
              kind(words[c], wide[c]) + (LONG_WORD.matcher(heading).find() ? " long" : ""))
          .name(heading)
          .close();
    }
    html.close().close().open("tbody");
    for (List<Cell> row : table.rows()) {
      html.open("tr");
      for (int c = 0; c < row.size(); c++) {
        Cell cell = row.get(c);
        String kind = kind(words[c], wide[c]) + (cell.strong() ? " strong" : "");
        if (c == 0) {
          html.open("th", "scope", "row", "class", kind);
        } else {
          html.open("td", "class", kind);
        }
        if (cell.isNumber()) {
          data(cell);
        } else {
          html.name(cell.text());
        }
        html.close();
      }
      html.close();
    }
    html.close().close().close().line();
  }

  private static String kind(boolean words, boolean wide) {
    return (words ? "words" : "") + (wide ? " wide" : "");
  }

  /** Read when the first page is written. */
  private static final class Resources {
    private static final String WEBJAR = "/META-INF/resources/webjars/d3/";
    static final String STYLE = read("report.css");
    static final String SCRIPT = read("report.js");
    private static final String VERSION = version();
    static final String D3 = read(WEBJAR + VERSION + "/dist/d3.min.js");
    static final String D3_LICENCE = read(WEBJAR + VERSION + "/LICENSE");

    private static String version() {
      Properties properties = new Properties();
      try (InputStream in = open("/META-INF/maven/org.webjars.npm/d3/pom.properties")) {
        properties.load(in);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return properties.getProperty("version");
    }

    private static String read(String name) {
      try (InputStream in = open(name)) {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private static InputStream open(String name) throws IOException {
      InputStream in = ReportPage.class.getResourceAsStream(name);
      if (in == null) {
        throw new IOException(name + " is missing from the program's jars");
      }
      return in;
    }
  }
}
