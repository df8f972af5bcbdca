package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.LinearLayer;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.StatisticFile;

/**
 * What becomes of each tensor of the base.
 *
 * @param all parameters of the base, in file order
 * @param merged those that are merged, in file order
 * @param layers of these, the weights that a {@link LayerRule} finds
 * @param carriedOver tensors that no model has a say in
 * @param excluded tensors that an exclusion, or no inclusion, keeps at the base's values
 */
record TensorChoice(
    List<Parameter> all,
    List<Parameter> merged,
    List<SolvedLayer> layers,
    List<CheckpointTensor> carriedOver,
    List<CheckpointTensor> excluded) {
  TensorChoice {
    all = List.copyOf(all);
    merged = List.copyOf(merged);
    layers = List.copyOf(layers);
    carriedOver = List.copyOf(carriedOver);
    excluded = List.copyOf(excluded);
  }

  /**
   * Chooses what is merged: what the models' statistics cover or, without statistics, what the
   * models hold; of that, what the request's patterns leave.
   *
   * @throws InputException if nothing is left to merge
   */
  static TensorChoice of(MergeRequest request, MergeInputs inputs, List<String> warnings) {
    Set<String> covered = covered(request, inputs);
    NamePatterns exclusions = new NamePatterns("exclusion", request.exclude(), inputs);
    NamePatterns inclusions = new NamePatterns("inclusion", request.include(), inputs);
    List<Parameter> all = Parameters.of(inputs, exclusions::match);
    if (all.stream().noneMatch(parameter -> isCovered(parameter, covered))) {
      throw nothingMatches(inputs);
    }
    List<Parameter> merged = new ArrayList<>();
    Set<CheckpointTensor> keptByRequest = new HashSet<>();
    Set<CheckpointTensor> uncovered = new HashSet<>();
    for (Parameter parameter : all) {
      boolean left = exclusions.match(parameter);
      boolean wanted = inclusions.match(parameter) || request.include().isEmpty();
      if (!isCovered(parameter, covered)) {
        uncovered.addAll(parameter.tensors());
      } else if (left || !wanted) {
        keptByRequest.addAll(parameter.tensors());
        if (left && !parameter.tensors().stream().allMatch(exclusions::match)) {
          warnings.add(sayWhatElse(parameter));
        }
      } else {
        merged.add(parameter);
      }
    }
    List<CheckpointTensor> carriedOver = new ArrayList<>();
    List<CheckpointTensor> excluded = new ArrayList<>();
    for (CheckpointTensor tensor : inputs.base().tensors().values()) {
      if (tensor.info().dtype().isInteger()) {
        exclusions.match(tensor);
        inclusions.match(tensor);
        carriedOver.add(tensor);
      } else if (uncovered.contains(tensor)) {
        carriedOver.add(tensor);
      } else if (keptByRequest.contains(tensor)) {
        excluded.add(tensor);
      }
    }
    warnings.addAll(exclusions.unused());
    warnings.addAll(inclusions.unused());
    if (merged.isEmpty()) {
      throw new InputException(
          "every parameter that could be merged is "
              + (request.include().isEmpty()
                  ? "excluded by " + String.join(", ", request.exclude())
                  : "left out: the inclusions are "
                      + String.join(", ", request.include())
                      + (request.exclude().isEmpty()
                          ? ""
                          : ", the exclusions " + String.join(", ", request.exclude())))
              + "; nothing is left to merge");
    }
    return new TensorChoice(all, merged, layers(request, inputs, merged), carriedOver, excluded);
  }

  private static List<SolvedLayer> layers(
      MergeRequest request, MergeInputs inputs, List<Parameter> merged) {
    if (!(request.rule() instanceof LayerRule rule)) {
      return List.of();
    }
    List<SolvedLayer> layers = new ArrayList<>();
    for (Parameter parameter : merged) {
      StatisticFile first =
          inputs.statistics().stream()
              .filter(file -> file.layer(parameter.name()).isPresent())
              .findFirst()
              .orElse(inputs.statistics().getFirst());
      LinearLayer layer = first.layer(parameter.name()).orElse(null);
      if (layer == null || !rule.solves(layer, parameter.tensor().info().shape())) {
        continue;
      }
      long weights = layer.inputs() * layer.outputs();
      if (weights != parameter.tensor().info().elementCount()) {
        throw new InputException(
            first.path()
                + ": its layer '"
                + parameter.name()
                + "' has "
                + layer.outputs()
                + " outputs and "
                + layer.inputs()
                + " inputs, but the base's weight is "
                + parameter.tensor().info().shapeText());
      }
      for (StatisticFile other : inputs.statistics()) {
        LinearLayer same = other.layer(parameter.name()).orElse(null);
        if (same == null || !same.hasShapeOf(layer)) {
          throw new InputException(
              other.path()
                  + " has no factors, or of another size, of the layer '"
                  + parameter.name()
                  + "', of which "
                  + first.path()
                  + " has some: a layer is merged from all models or from none");
        }
      }
      layers.add(new SolvedLayer(parameter, layer));
    }
    if (layers.isEmpty()) {
      StatisticFile first = inputs.statistics().getFirst();
      throw new InputException(
          first.path()
              + ": holds factors of none of the parameters that are merged; its layers are such as "
              + NameList.of(List.copyOf(first.layout().layers().keySet()), 3));
    }
    return layers;
  }

  /** What is merged element by element. */
  List<Parameter> streamed() {
    Set<Parameter> solved = layers.stream().map(SolvedLayer::parameter).collect(Collectors.toSet());
    return merged.stream().filter(parameter -> !solved.contains(parameter)).toList();
  }

  /** Names of what is merged, as the inputs that decide it have them. */
  private static Set<String> covered(MergeRequest request, MergeInputs inputs) {
    if (!inputs.fishers().isEmpty()) {
      Stream<String> layers =
          inputs.statistics().stream()
              .flatMap(file -> file.layout().layers().keySet().stream())
              .map(ParameterNames::canonical);
      return Stream.concat(
              request.rule() instanceof LayerRule ? layers : Stream.of(),
              inputs.fishers().stream().flatMap(fisher -> fisher.tensors().keySet().stream()))
          .collect(Collectors.toSet());
    }
    // Where the base has a share itself, as in task arithmetic, the others say what is merged.
    Object base = request.identity(request.base());
    List<Checkpoint> others = new ArrayList<>();
    for (int i = 0; i < inputs.models().size(); i++) {
      Path model = request.operands().get(i).model();
      if (!request.identity(model).equals(base)) {
        others.add(inputs.models().get(i));
      }
    }
    return (others.isEmpty() ? inputs.models() : others)
        .stream().flatMap(model -> model.tensors().keySet().stream()).collect(Collectors.toSet());
  }

  private static boolean isCovered(Parameter parameter, Set<String> covered) {
    return parameter.names().stream().anyMatch(covered::contains);
  }

  /** Of a parameter that the exclusion names by one of several names. */
  private static String sayWhatElse(Parameter parameter) {
    return "the exclusion of one name of a tied parameter keeps the base's value of all: "
        + parameter.names().stream()
            .map(name -> "'" + name + "'")
            .collect(Collectors.joining(", "));
  }

  private static InputException nothingMatches(MergeInputs inputs) {
    boolean average = inputs.fishers().isEmpty();
    Path other = average ? inputs.models().getFirst().path() : inputs.fishers().getFirst().path();
    Map<String, CheckpointTensor> tensors =
        average ? inputs.models().getFirst().tensors() : inputs.fishers().getFirst().tensors();
    return new InputException(
        "no tensor of "
            + other
            + " is a parameter of the base "
            + inputs.base().path()
            + ": "
            + Mismatch.difference(tensors.values(), inputs.base()));
  }

  /** The base's tensors of what is merged: the first of each parameter. */
  List<CheckpointTensor> mergedTensors() {
    return merged.stream().map(Parameter::tensor).toList();
  }

  /** The base's further tensors of what is merged, which get the same bits. */
  List<CheckpointTensor> copies() {
    return merged.stream().flatMap(parameter -> parameter.copies().stream()).toList();
  }

  /** The tensors that keep the base's values. */
  List<CheckpointTensor> kept() {
    return Stream.concat(carriedOver.stream(), excluded.stream()).toList();
  }
}
