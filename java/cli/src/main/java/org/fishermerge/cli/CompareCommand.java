package org.fishermerge.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.cli.report.Comparison;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportReader;
import org.fishermerge.cli.report.RunReport;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code compare}: the reports of several runs on one page. */
@Command(
    name = "compare",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Puts the reports of several runs side by side, on one page.")
final class CompareCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(
      arity = "2..*",
      paramLabel = "REPORT.json",
      description =
          "Reports that run, demo or --report FILE.json wrote, of this or an older version.")
  private List<Path> inputs = List.of();

  @Option(
      names = "--out",
      paramLabel = "FILE.html",
      description = "The page (default: ${DEFAULT-VALUE}).")
  private Path out = Path.of("compare.html");

  @Option(
      names = "--names",
      split = ",",
      paramLabel = "NAME",
      description = "One name per report, in their order (default: the files' names).")
  private List<String> names = List.of();

  @Option(names = "--overwrite", description = "Replace an existing page.")
  private boolean overwrite;

  @Override
  public Integer call() {
    List<String> runs = TaskNames.of(names, inputs);
    AtomicOutput.requireApart(out, inputs);
    PrintWriter standard = spec.commandLine().getOut();
    try (AtomicOutput page = AtomicOutput.file(out, overwrite)) {
      ReportBuilder builder = CommandReport.begin(spec);
      List<RunReport> reports = new ArrayList<>();
      inputs.forEach(input -> reports.add(ReportReader.read(input)));
      Comparison comparison = new Comparison(runs, reports);
      RunReport compared = comparison.report(builder);
      page.write(comparison.page(compared));
      page.commit();
      comparison.print(compared, standard);
    }
    standard.println("report: " + out);
    return 0;
  }
}
