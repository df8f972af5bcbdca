package org.fishermerge.cli.program;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.cli.report.Intervals;
import org.fishermerge.cli.report.ReportBuilder;
import org.fishermerge.cli.report.ReportJson;
import org.fishermerge.cli.report.ReportText;
import org.fishermerge.cli.report.RunReport.Measure;
import org.fishermerge.cli.report.RunReport.Role;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.cli.task.SkippedRowsReport;
import org.fishermerge.estimate.SkippedRows;
import org.fishermerge.torch.Accuracy;

/**
 * The report of a run: FusionBench's keys and numbers, and then under one key of our own how they
 * came about. FusionBench's numbers are those of 32-bit floating point, so ours are rounded to it.
 */
final class Report {
  /** Our own key. */
  static final String OWN = ReportJson.OWN;

  private final ObjectNode json = JsonReport.object();
  private final ObjectNode own = JsonReport.object();
  private final Map<String, Accuracy> tasks = new LinkedHashMap<>();

  /** Counts the parameters of a CLIP image tower, all of them trainable. */
  void modelInfo(Path model) {
    long parameters = 0;
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      for (CheckpointTensor tensor : checkpoint.tensors().values()) {
        String name = tensor.canonicalName();
        boolean elsewhere =
            name.startsWith("text_model.")
                || name.startsWith("text_projection.")
                || name.startsWith("visual_projection.")
                || name.equals("logit_scale");
        if (!elsewhere && !tensor.info().dtype().isInteger()) {
          parameters += tensor.info().elementCount();
        }
      }
    }
    json.putObject("model_info")
        .put("trainable_params", parameters)
        .put("all_params", parameters)
        .put("trainable_percentage", 1.0);
  }

  void task(String name, Accuracy accuracy, SkippedRows skipped) {
    tasks.put(name, accuracy);
    json.putObject(name)
        .put("accuracy", single(accuracy.accuracy()))
        .put("loss", single(accuracy.loss()));
    ObjectNode measured = own.withObject("/accuracies").putObject(name);
    measured.put("correct", accuracy.correct()).put("examples", accuracy.examples());
    JsonReport.addInterval(accuracy, measured);
    if (skipped.count() > 0) {
      SkippedRowsReport.add(skipped, measured);
    }
  }

  /** The mean over the tasks. */
  void average() {
    json.putObject("average")
        .put("accuracy", mean(tasks.values().stream().mapToDouble(Accuracy::accuracy).toArray()))
        .put("loss", mean(tasks.values().stream().mapToDouble(Accuracy::loss).toArray()));
  }

  private static double mean(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += single(value);
    }
    return sum / values.length;
  }

  private static double single(double value) {
    return (float) value;
  }

  /** Adds what was measured. */
  void addTo(ReportBuilder page) {
    if (!tasks.isEmpty()) {
      List<Measure> measures = tasks.values().stream().map(Intervals::measure).toList();
      page.accuracies(
          Intervals.complete(
              List.copyOf(tasks.keySet()),
              List.of(Intervals.row("this merge", Role.THIS, measures))));
    }
  }

  /** How the numbers came about. */
  ObjectNode own() {
    return own;
  }

  /** The whole report. */
  ObjectNode json() {
    ObjectNode all = json.deepCopy();
    all.set(OWN, own);
    return all;
  }

  /** Accuracies and losses for the reader. */
  void print(PrintWriter out) {
    if (!tasks.isEmpty()) {
      List<Measure> measures = tasks.values().stream().map(Intervals::measure).toList();
      ReportText.measures(
          List.copyOf(tasks.keySet()),
          measures,
          json.path("average").path("accuracy").doubleValue(),
          json.path("average").path("loss").doubleValue(),
          out);
    }
  }
}
