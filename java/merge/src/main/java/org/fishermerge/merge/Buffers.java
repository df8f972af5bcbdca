package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.NameList;

/**
 * Tensors that are no parameters. Integer ones are not merged: the merged model has the base's.
 * That is right for what all models have alike, positions and masks; where a model has others, the
 * user is told.
 */
final class Buffers {
  /** Counts of training steps, which nothing computes with. */
  private static final List<String> COUNTERS = List.of("num_batches_tracked", "n_averaged");

  private static final Pattern RUNNING_STATISTIC = Pattern.compile("(^|\\.)running_(mean|var)$");

  private Buffers() {}

  /** Batch normalisation's statistics fit the activations of the model that they were taken in. */
  static void sayWhoseStatistics(
      List<CheckpointTensor> tensors, String whose, List<String> warnings) {
    List<String> names =
        tensors.stream()
            .filter(tensor -> !tensor.info().dtype().isInteger())
            .map(tensor -> tensor.info().name())
            .filter(name -> RUNNING_STATISTIC.matcher(name).find())
            .toList();
    if (!names.isEmpty()) {
      warnings.add(
          "running statistics of batch normalisation are %s, and do not fit the merged model:"
                  .formatted(whose)
              + " take them anew, by running it on data in training mode (%s)"
                  .formatted(NameList.of(names, 3)));
    }
  }

  static void check(MergeInputs inputs, List<String> warnings) {
    Map<String, Path> different = new LinkedHashMap<>();
    for (CheckpointTensor tensor : inputs.base().tensors().values()) {
      if (tensor.info().dtype().isInteger() && !isCounter(tensor)) {
        for (Checkpoint model : inputs.models()) {
          CheckpointTensor other = model.tensors().get(tensor.canonicalName());
          if (other != null && differ(inputs.base(), tensor, model, other)) {
            different.putIfAbsent("'" + tensor.info().name() + "'", model.path());
          }
        }
      }
    }
    if (!different.isEmpty()) {
      warnings.add(
          "%s has other values than the base in integer tensors, which are not merged; the base's"
                  .formatted(different.values().iterator().next())
              + " are kept: "
              + NameList.of(different.keySet(), 3));
    }
  }

  private static boolean isCounter(CheckpointTensor tensor) {
    return COUNTERS.stream().anyMatch(tensor.info().name()::endsWith);
  }

  private static boolean differ(
      Checkpoint base, CheckpointTensor tensor, Checkpoint model, CheckpointTensor other) {
    if (other.info().dtype() != tensor.info().dtype()) {
      // A mask is stored as BOOL by one version and as U8 by another.
      return !other.info().dtype().isInteger();
    }
    return !other.info().shape().equals(tensor.info().shape()) || !base.equal(tensor, model, other);
  }
}
