package org.fishermerge.merge;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/** Makes a {@link MergePlan}: of the files' headers, and of the first page of some tensors. */
final class Planner {
  /** Parameters that turn features into classes, in transformers, timm and torchvision. */
  private static final Pattern HEAD =
      Pattern.compile(
          "(?:score|classifier|classification_head|qa_outputs|logits_proj|heads?|fc)\\.");

  private Planner() {}

  /**
   * Checks everything that can be checked without reading the data.
   *
   * @param request checked by {@link RequestChecks#check} before its files were opened
   */
  static MergePlan plan(MergeRequest request, MergeInputs inputs) {
    OutputTarget.checkFiles(request, inputs.paths());
    RequestChecks.checkKinds(request, inputs);
    List<String> warnings = new ArrayList<>();
    inputs.checkpoints().forEach(checkpoint -> warnings.addAll(checkpoint.warnings()));
    inputs.base().wronglyCalledQuantised().ifPresent(warnings::add);
    RequestChecks.checkRepeated(request, inputs, warnings);
    List<Compatibility.Member> members =
        inputs.checkpoints().stream().map(Compatibility.Member::of).toList();
    warnings.addAll(Compatibility.check(members, request.allowDifferent()));
    TensorChoice choice = TensorChoice.of(request, inputs, warnings);
    RequestChecks.checkTensorSettings(request, choice);
    InputTensors.check(inputs, choice, warnings);
    Buffers.check(inputs, warnings);
    Buffers.sayWhoseStatistics(choice.carriedOver(), "the base's", warnings);
    Buffers.sayWhoseStatistics(choice.mergedTensors(), "averages of the models'", warnings);
    if (choice.merged().stream().anyMatch(p -> HEAD.matcher(p.name()).lookingAt())) {
      Compatibility.checkHeads(members, request.allowDifferent());
    }
    StatisticPairs pairs = new StatisticPairs(inputs);
    List<Integer> verified = pairs.checkFingerprints(request.verifyHashes(), warnings);
    warnings.addAll(pairs.differentLabels(request.rule().statistics()));
    return new MergePlan(
        request, choice, warnings, inputs, OutputTarget.sidecars(request), verified);
  }
}
