package org.fishermerge.cli.report;

import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.RunReport.Accuracies;
import org.fishermerge.cli.report.RunReport.FisherSizes;
import org.fishermerge.cli.report.RunReport.Merge;
import org.fishermerge.cli.report.RunReport.Model;
import org.fishermerge.cli.report.RunReport.Origin;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.report.RunReport.Shares;
import org.fishermerge.cli.report.RunReport.Similarities;
import org.fishermerge.cli.report.RunReport.Stage;
import org.fishermerge.estimate.Tool;
import org.jspecify.annotations.Nullable;

/** Gathers a report while a command runs. For one thread at a time. */
public final class ReportBuilder {
  private final String command;
  private final List<String> line;
  private final Instant started = Instant.now();
  private final long start = System.nanoTime();

  private final List<Model> models = new ArrayList<>();
  private final List<Merge> merges = new ArrayList<>();
  private final List<Shares> shares = new ArrayList<>();
  private final List<Stage> stages = new ArrayList<>();
  private final List<String> warnings = new ArrayList<>();
  private @Nullable Accuracies accuracies;
  private @Nullable FisherSizes fishers;
  private @Nullable Similarities similarity;
  private @Nullable Search search;
  private @Nullable Long seed;

  /**
   * Begins a report, and its clock.
   *
   * @param command whose it is
   * @param line the words of the command line after the program's name
   */
  public ReportBuilder(String command, List<String> line) {
    this.command = command;
    this.line = List.copyOf(line);
  }

  public ReportBuilder seed(long value) {
    seed = value;
    return this;
  }

  public ReportBuilder model(Model model) {
    models.add(model);
    return this;
  }

  /** In place of those before. */
  public ReportBuilder models(List<Model> all) {
    models.clear();
    models.addAll(all);
    return this;
  }

  public ReportBuilder merge(Merge merge) {
    merges.add(merge);
    return this;
  }

  public ReportBuilder shares(List<Shares> measured) {
    shares.addAll(measured);
    return this;
  }

  public ReportBuilder accuracies(Accuracies measured) {
    accuracies = measured;
    return this;
  }

  public ReportBuilder fishers(@Nullable FisherSizes sizes) {
    fishers = sizes;
    return this;
  }

  public ReportBuilder similarity(@Nullable Similarities compared) {
    similarity = compared;
    return this;
  }

  public ReportBuilder search(@Nullable Search searched) {
    search = searched;
    return this;
  }

  public ReportBuilder stage(Stage stage) {
    stages.add(stage);
    return this;
  }

  public ReportBuilder warnings(Iterable<String> said) {
    for (String each : said) {
      if (!warnings.contains(each)) {
        warnings.add(each);
      }
    }
    return this;
  }

  /** A model of which only the place is known. */
  public static Model model(String name, Path path, boolean base) {
    return new Model(name, base, null, path.toString(), null, null, null, null, null, null);
  }

  /** The report so far. */
  public RunReport build() {
    return new RunReport(
        RunReport.SCHEMA,
        command,
        new Origin(
            Tool.nameAndVersion(),
            Runtime.version().toString(),
            started.truncatedTo(ChronoUnit.SECONDS).toString(),
            (System.nanoTime() - start) / 1e9,
            seed,
            line),
        models,
        merges,
        accuracies,
        shares,
        fishers,
        similarity,
        search,
        stages,
        warnings);
  }
}
