package org.fishermerge.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.report.ReportFile;
import org.fishermerge.cli.task.Progress;
import org.fishermerge.estimate.CommandDevice;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Similarity;
import org.fishermerge.merge.SimilarityMetric;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code similarity}: how alike the Fishers of several tasks are. */
@Command(
    name = "similarity",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = "Compares the Fishers of several tasks: which parameters matter to both?")
final class SimilarityCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(
      arity = "2..*",
      paramLabel = "FISHER",
      description = "Fisher files of models of one architecture, one for each task.")
  private List<Path> inputs = List.of();

  @Option(
      names = "--metric",
      paramLabel = "overlap|cosine",
      description =
          "What the table and the heat map show (default: overlap, the sum of sqrt(f g) over"
              + " Fishers of unit trace). The JSON file has both.")
  private SimilarityMetric metric = SimilarityMetric.OVERLAP;

  @Option(
      names = "--layers",
      description = "Layer by layer, instead of the matrix of the whole model.")
  private boolean byLayer;

  @Option(
      names = "--names",
      split = ",",
      paramLabel = "NAME",
      description = "One name per file, in their order (default: the files' names).")
  private List<String> names = List.of();

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write all matrices, of the model and of each layer, as JSON.")
  private @Nullable Path json;

  @Option(
      names = "--image",
      paramLabel = "FILE.png|.svg",
      description = "Draw what the table shows as a heat map.")
  private @Nullable Path image;

  @Mixin private ReportOption reports = new ReportOption();

  @Option(names = "--overwrite", description = "Replace existing files.")
  private boolean overwrite;

  @Override
  public Integer call() {
    List<String> tasks = TaskNames.of(names, inputs);
    boolean svg = image != null && isSvg(image);
    requireOutputsApart();
    List<Path> places = new ArrayList<>(reports.files);
    if (json != null) {
      places.add(json);
    }
    try (CommandReport report = CommandReport.open(places, spec, overwrite);
        AtomicOutput imageFile = image == null ? null : AtomicOutput.file(image, overwrite)) {
      if (report != null) {
        report.stages().begin();
      }
      Similarity similarity = compare();
      SimilarityReport found = new SimilarityReport(similarity, tasks, metric);
      PrintWriter out = spec.commandLine().getOut();
      similarity.warnings().forEach(w -> spec.commandLine().getErr().println("warning: " + w));
      out.print(byLayer ? found.layerTable() : found.matrixTable());
      if (report != null) {
        report.stages().end("comparison");
        found.addTo(report.builder());
      }
      if (imageFile != null) {
        draw(imageFile, byLayer ? found.layerMap() : found.matrixMap(), svg);
        imageFile.commit();
      }
      if (report != null) {
        report.publish(found.json());
      }
    }
    return 0;
  }

  private static boolean isSvg(Path image) {
    String name = image.toString().toLowerCase(Locale.ROOT);
    if (!name.endsWith(".svg") && !name.endsWith(".png")) {
      throw new InputException("--image " + image + ": expected a name ending in .png or .svg");
    }
    return name.endsWith(".svg");
  }

  private void requireOutputsApart() {
    List<Path> taken = new ArrayList<>(inputs);
    if (json != null) {
      if (ReportFile.isPage(json)) {
        throw new InputException(
            "--json " + json + ": expected a name for JSON; pages are written by --report");
      }
      AtomicOutput.requireApart(json, taken);
      taken.add(json);
    }
    if (image != null) {
      AtomicOutput.requireApart(image, taken);
      taken.add(image);
    }
    reports.files.forEach(file -> AtomicOutput.requireApart(file, taken));
  }

  private Similarity compare() {
    try (Places places = new Places(spec);
        Kernels kernels = CommandDevice.forMerging(null).open()) {
      List<Path> files = inputs.stream().map(places::fisher).toList();
      long bytes = files.stream().mapToLong(SimilarityCommand::size).sum();
      try (Progress progress =
          new Progress(spec.commandLine().getErr(), "Comparing", "GB", bytes, 1e9)) {
        return Similarity.of(files, kernels, (done, total) -> progress.update(done));
      }
    }
  }

  /** For the progress only; what is wrong with a file is said when it is opened. */
  private static long size(Path file) {
    return file.toFile().length();
  }

  private static void draw(AtomicOutput output, HeatMap map, boolean svg) {
    if (svg) {
      SvgDrawing drawing = new SvgDrawing(map.width(), map.height());
      map.draw(drawing);
      output.write(drawing.toString());
      return;
    }
    PngDrawing drawing = new PngDrawing(map.width(), map.height());
    map.draw(drawing);
    try {
      drawing.write(output.temp());
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write " + output.temp(), e);
    }
  }
}
