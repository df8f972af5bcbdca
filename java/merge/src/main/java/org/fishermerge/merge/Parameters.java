package org.fishermerge.merge;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.jspecify.annotations.Nullable;

/** Finds the parameters of a base: its tensors, those that are tied taken together. */
final class Parameters {
  private final Checkpoint base;
  private final MergeInputs inputs;
  private final Map<String, Parameter> byName = new LinkedHashMap<>();

  private Parameters(MergeInputs inputs) {
    this.base = inputs.base();
    this.inputs = inputs;
  }

  /**
   * All parameters of the base, integer tensors left out, in file order of their first tensors.
   *
   * @param excluded whether a tensor of the base is not to be merged
   */
  static List<Parameter> of(MergeInputs inputs, Predicate<CheckpointTensor> excluded) {
    Parameters parameters = new Parameters(inputs);
    parameters.readTies();
    if (inputs.base().mayTieMore()) {
      parameters.findDuplicates(excluded);
    }
    return List.copyOf(new LinkedHashSet<>(parameters.byName.values()));
  }

  private void readTies() {
    for (CheckpointTensor tensor : base.tensors().values()) {
      if (!tensor.info().dtype().isInteger() && !byName.containsKey(tensor.canonicalName())) {
        Set<String> names = new LinkedHashSet<>(List.of(tensor.canonicalName()));
        names.addAll(base.namesOf(tensor.canonicalName()));
        put(tensor, names);
      }
    }
  }

  private void put(CheckpointTensor first, Set<String> names) {
    List<CheckpointTensor> copies =
        names.stream()
            .filter(base::has)
            .filter(name -> !name.equals(first.canonicalName()))
            .map(base::tensor)
            .toList();
    Parameter parameter = new Parameter(first, List.copyOf(names), copies);
    names.stream().filter(base::has).forEach(name -> byName.put(name, parameter));
  }

  /**
   * Where nothing says what is tied, two matrices of the same bits are one parameter, unless a
   * model stores both and they differ there. It matters only for what an input lacks or an
   * exclusion names, so only these are looked at; matrices of one value, as layers begin with, tell
   * nothing.
   */
  private void findDuplicates(Predicate<CheckpointTensor> excluded) {
    Map<List<Object>, List<CheckpointTensor>> alike = new HashMap<>();
    for (Parameter parameter : byName.values()) {
      CheckpointTensor tensor = parameter.tensor();
      alike
          .computeIfAbsent(
              List.of(tensor.info().dtype(), tensor.info().shape()), any -> new ArrayList<>())
          .add(tensor);
    }
    for (Parameter parameter : List.copyOf(byName.values())) {
      CheckpointTensor tensor = parameter.tensor();
      boolean matters =
          tensor.info().shape().size() >= 2
              && parameter.names().size() == 1
              && (isLacking(tensor.canonicalName()) || excluded.test(tensor));
      if (matters && !isConstant(tensor)) {
        alike
            .getOrDefault(List.of(tensor.info().dtype(), tensor.info().shape()), List.of())
            .stream()
            .filter(other -> !other.equals(tensor) && base.equal(tensor, other))
            .filter(other -> agreeEverywhere(tensor.canonicalName(), other.canonicalName()))
            .findFirst()
            .ifPresent(other -> join(other, tensor));
      }
    }
  }

  private boolean isLacking(String name) {
    return Stream.concat(
            inputs.models().stream().map(Checkpoint::tensors),
            inputs.fishers().stream().map(fisher -> fisher.tensors()))
        .anyMatch(tensors -> !tensors.containsKey(name));
  }

  private boolean isConstant(CheckpointTensor tensor) {
    long width = tensor.info().dtype().bits() / Byte.SIZE;
    long count = tensor.info().elementCount();
    @Nullable MemorySegment first = null;
    for (long at = 0; at < count; at += Piece.ELEMENTS) {
      long length = Math.min(Piece.ELEMENTS, count - at);
      MemorySegment values = ComputedValues.read(base, tensor.canonicalName(), at, length);
      MemorySegment value = first == null ? values.asSlice(0, width) : first;
      first = value;
      if (value.mismatch(values.asSlice(0, width)) >= 0
          || values.asSlice(width).mismatch(values.asSlice(0, values.byteSize() - width)) >= 0) {
        return false;
      }
    }
    return true;
  }

  private boolean agreeEverywhere(String one, String other) {
    return inputs.models().stream()
        .allMatch(model ->
            !model.has(one)
                || !model.has(other)
                || model.equal(model.tensor(one), model.tensor(other)));
  }

  private void join(CheckpointTensor one, CheckpointTensor other) {
    Set<String> names = new LinkedHashSet<>();
    for (String name : base.tensors().keySet()) {
      if (name.equals(one.canonicalName()) || name.equals(other.canonicalName())) {
        Parameter parameter = byName.get(name);
        names.addAll(parameter == null ? List.of(name) : parameter.names());
      }
    }
    put(base.tensor(names.iterator().next()), names);
  }
}
