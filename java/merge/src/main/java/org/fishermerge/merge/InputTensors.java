package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.TensorInfo;

/** Checks that every input has what is merged, and tells of what inputs have beside it. */
final class InputTensors {
  private static final int EXAMPLES_SHOWN = 3;

  private final MergeInputs inputs;
  private final TensorChoice choice;

  private InputTensors(MergeInputs inputs, TensorChoice choice) {
    this.inputs = inputs;
    this.choice = choice;
  }

  /**
   * Checks the inputs of a merge.
   *
   * @param warnings takes what is told of
   * @throws InputException if an input lacks a parameter that is merged, or has it in another
   *     shape, in a dtype that is not one of floating-point numbers, or under two tied names with
   *     different values
   */
  static void check(MergeInputs inputs, TensorChoice choice, List<String> warnings) {
    InputTensors tensors = new InputTensors(inputs, choice);
    tensors.checkInputs();
    inputs.checkpoints().forEach(checkpoint -> warnings.addAll(checkpoint.untied()));
    tensors.sayWhatIsLeftOut(warnings);
  }

  private void checkInputs() {
    choice.mergedTensors().forEach(tensor -> requireMergeable(tensor.info(), tensor.file()));
    for (int i = 0; i < inputs.models().size(); i++) {
      Checkpoint model = inputs.models().get(i);
      check(model.path(), model.tensors(), i, inputs::findValue, choice.merged());
      for (Parameter parameter : choice.merged()) {
        CheckpointTensor found = inputs.valueOf(i, parameter);
        requireMergeable(found.info(), found.file());
        for (String name : parameter.names()) {
          if (model.has(name) && !model.equal(found, model.tensor(name))) {
            throw untied(model.path(), parameter, found, model.tensor(name));
          }
        }
      }
    }
    for (int i = 0; i < inputs.fishers().size(); i++) {
      StatisticFile fisher = inputs.fishers().get(i);
      check(fisher.path(), fisher.tensors(), i, inputs::findFisher, choice.streamed());
      for (Parameter parameter : choice.streamed()) {
        CheckpointTensor found = inputs.fisherOf(i, parameter);
        for (String name : parameter.names()) {
          CheckpointTensor other = fisher.tensors().get(name);
          if (other != null && !fisher.equal(found, other)) {
            throw untied(fisher.path(), parameter, found, other);
          }
        }
      }
    }
  }

  /** Whether an input has every parameter, in the base's shapes. */
  private void check(
      Path path,
      Map<String, CheckpointTensor> stored,
      int index,
      BiFunction<Integer, Parameter, Optional<CheckpointTensor>> find,
      List<Parameter> wanted) {
    List<CheckpointTensor> all = wanted.stream().map(Parameter::tensor).toList();
    List<CheckpointTensor> missing = new ArrayList<>();
    List<CheckpointTensor> different = new ArrayList<>();
    CheckpointTensor firstDifferent = null;
    Parameter firstMissing = null;
    for (Parameter parameter : wanted) {
      CheckpointTensor found = find.apply(index, parameter).orElse(null);
      CheckpointTensor tensor = parameter.tensor();
      if (found == null) {
        missing.add(tensor);
        firstMissing = firstMissing == null ? parameter : firstMissing;
      } else if (!found.info().shape().equals(tensor.info().shape())) {
        different.add(tensor);
        firstDifferent = firstDifferent == null ? found : firstDifferent;
      }
    }
    if (firstMissing != null) {
      throw Mismatch.missing(
          path, stored.values(), missing, all, inputs.base(), inputs.coveringFile(firstMissing));
    }
    if (firstDifferent != null) {
      throw Mismatch.shape(different.getFirst(), firstDifferent, different, all);
    }
  }

  private InputException untied(
      Path path, Parameter parameter, CheckpointTensor one, CheckpointTensor other) {
    return new InputException(
        path
            + ": holds different values under '"
            + one.info().name()
            + "' and '"
            + other.info().name()
            + "', which are one parameter in "
            + inputs.base().path()
            + " (tied weights), so they cannot be merged as one. To keep the base's value, exclude"
            + " it: "
            + Mismatch.exclude(List.of(parameter.tensor().name())));
  }

  private static void requireMergeable(TensorInfo info, Path file) {
    if (!info.dtype().isMergeable()) {
      throw new InputException(
          file
              + ": tensor '"
              + info.name()
              + "' has dtype "
              + info.dtype()
              + ", which cannot be merged (F32, F16, BF16 and F64 can). Convert it, or keep the"
              + " base's value: "
              + Mismatch.exclude(List.of(info.name())));
    }
  }

  private void sayWhatIsLeftOut(List<String> warnings) {
    Set<String> known = new HashSet<>(inputs.base().tensors().keySet());
    choice.all().forEach(parameter -> known.addAll(parameter.names()));
    for (Checkpoint model : inputs.models()) {
      sayWhatIsLeftOut(model.path(), model.tensors().values(), known, warnings);
    }
    for (StatisticFile fisher : inputs.fishers()) {
      sayWhatIsLeftOut(fisher.path(), fisher.tensors().values(), known, warnings);
    }
  }

  private static void sayWhatIsLeftOut(
      Path file, Iterable<CheckpointTensor> tensors, Set<String> base, List<String> warnings) {
    Set<String> names = new LinkedHashSet<>();
    for (CheckpointTensor tensor : tensors) {
      // Older writers store position_ids, newer ones do not: its absence means nothing.
      if (!base.contains(tensor.canonicalName()) && !tensor.info().dtype().isInteger()) {
        names.add(tensor.info().name());
      }
    }
    if (!names.isEmpty()) {
      warnings.add(
          String.format(
              Locale.ROOT,
              "%s: %d of its tensors %s left out because the base has none of that name: %s",
              file,
              names.size(),
              names.size() == 1 ? "is" : "are",
              examples(names)));
    }
  }

  private static String examples(Set<String> names) {
    return NameList.of(names.stream().map(name -> "'" + name + "'").toList(), EXAMPLES_SHOWN);
  }
}
