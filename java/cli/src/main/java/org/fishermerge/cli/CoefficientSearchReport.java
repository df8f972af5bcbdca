package org.fishermerge.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.cli.report.RunReport;
import org.fishermerge.cli.report.RunReport.Check;
import org.fishermerge.cli.report.RunReport.CheckRow;
import org.fishermerge.cli.report.RunReport.Search;
import org.fishermerge.cli.task.JsonReport;
import org.fishermerge.merge.CoefficientSearch;
import org.fishermerge.torch.Accuracy;
import org.jspecify.annotations.Nullable;

/**
 * What a search of coefficients by accuracy tells.
 *
 * @param tries in their order
 * @param best one of them
 * @param equal on unseen examples with equal coefficients, for each model; without examples where
 *     all were seen
 * @param found the same with those that were found
 */
record CoefficientSearchReport(
    List<CoefficientSearch.Try> tries,
    CoefficientSearch.Try best,
    List<Accuracy> equal,
    List<Accuracy> found) {

  /** The command's own keys, but for its settings. */
  ObjectNode json(List<SearchCommand.Member> members) {
    ObjectNode json = JsonReport.object();
    best.coefficients().forEach(json.putArray("coefficients")::add);
    ArrayNode all = json.putArray("tries");
    for (CoefficientSearch.Try each : tries) {
      ObjectNode one = all.addObject();
      each.coefficients().forEach(one.putArray("coefficients")::add);
      one.put("accuracy", each.score().accuracy()).put("loss", each.score().loss());
    }
    ArrayNode tasks = json.putArray("unseen");
    for (int i = 0; i < members.size(); i++) {
      ObjectNode task = tasks.addObject();
      task.put("model", members.get(i).model.toString()).put("data", members.get(i).data);
      task.put("examples", found.get(i).examples());
      if (found.get(i).examples() > 0) {
        task.put("accuracy_equal", equal.get(i).accuracy());
        task.put("accuracy_found", found.get(i).accuracy());
      }
    }
    return json;
  }

  /**
   * The search, as reports have it.
   *
   * @param names of the models
   */
  Search search(List<String> names) {
    List<RunReport.Try> all =
        tries.stream()
            .map(each ->
                new RunReport.Try(
                    null,
                    null,
                    new ArrayList<@Nullable Double>(each.coefficients()),
                    each.score().accuracy(),
                    each.score().loss()))
            .toList();
    List<CheckRow> rows = new ArrayList<>();
    boolean measured = found.stream().allMatch(accuracy -> accuracy.examples() > 0);
    for (int i = 0; i < names.size() && measured; i++) {
      rows.add(
          new CheckRow(
              names.get(i),
              found.get(i).examples(),
              List.of(equal.get(i).accuracy(), found.get(i).accuracy())));
    }
    return new Search(
        "accuracy",
        names,
        all,
        tries.indexOf(best),
        measured ? new Check(List.of("equal", "found"), rows) : null);
  }
}
