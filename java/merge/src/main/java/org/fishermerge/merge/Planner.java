package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.CheckpointTensor;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.FisherFile;
import org.fishermerge.checkpoint.FisherMetadata;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.NameList;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.checkpoint.TensorInfo;

/** Makes a {@link MergePlan}: request first, then headers, then pairs of model and Fisher. */
final class Planner {
  private static final int EXAMPLES_SHOWN = 3;

  /** Parameters that turn features into classes, in transformers, timm and torchvision. */
  private static final Pattern HEAD =
      Pattern.compile(
          "(?:score|classifier|classification_head|qa_outputs|logits_proj|heads?|fc)\\.");

  private final MergeRequest request;
  private final MergeInputs inputs;
  private final List<String> warnings = new ArrayList<>();
  private final List<Parameter> merged = new ArrayList<>();
  private final List<CheckpointTensor> carriedOver = new ArrayList<>();
  private final List<CheckpointTensor> excluded = new ArrayList<>();

  private Planner(MergeRequest request, MergeInputs inputs) {
    this.request = request;
    this.inputs = inputs;
  }

  static MergePlan plan(MergeRequest request) {
    checkRequest(request);
    OutputTarget.check(request);
    try (MergeInputs inputs = MergeInputs.open(request)) {
      OutputTarget.checkFiles(request, inputs.paths());
      return new Planner(request, inputs).plan();
    }
  }

  private MergePlan plan() {
    boolean average = inputs.fishers().isEmpty();
    warnings.addAll(inputs.base().warnings());
    inputs.models().forEach(model -> warnings.addAll(model.warnings()));
    inputs.base().wronglyCalledQuantised().ifPresent(warnings::add);
    checkRepeated();
    List<Compatibility.Member> members =
        Stream.concat(Stream.of(inputs.base()), inputs.models().stream())
            .map(Compatibility.Member::of)
            .toList();
    warnings.addAll(Compatibility.check(members, request.allowDifferent()));
    sortTensors(average);
    if (merged.stream().anyMatch(p -> HEAD.matcher(p.tensor().canonicalName()).lookingAt())) {
      Compatibility.checkHeads(members, request.allowDifferent());
    }
    List<Integer> verified = average ? List.of() : checkPairs();
    warnings.addAll(differentLabels());
    long hashedBytes = verified.stream().mapToLong(i -> dataBytes(inputs.models().get(i))).sum();
    long fisherBytes = 0;
    long mergedBytes = 0;
    for (Parameter parameter : merged) {
      long model = 0;
      long fisher = 0;
      for (int i = 0; i < inputs.models().size(); i++) {
        model += inputs.valueOf(i, parameter).info().byteCount();
      }
      for (int i = 0; i < inputs.fishers().size(); i++) {
        fisher += inputs.fisherOf(i, parameter).info().byteCount();
      }
      fisherBytes += fisher;
      mergedBytes += model + fisher;
    }
    long held = inputs.base().tensors().size();
    for (Checkpoint model : inputs.models()) {
      held += model.tensors().size();
    }
    for (FisherFile fisher : inputs.fishers()) {
      held += fisher.tensors().size();
    }
    return new MergePlan(
        request,
        merged,
        carriedOver,
        excluded,
        inputs.base().tensors().values(),
        warnings,
        inputs.files(),
        OutputTarget.sidecars(request),
        verified,
        hashedBytes,
        fisherBytes,
        mergedBytes,
        held,
        merged.stream().allMatch(this::sumsStated));
  }

  private boolean sumsStated(Parameter parameter) {
    for (int i = 0; i < inputs.fishers().size(); i++) {
      String name = inputs.fisherOf(i, parameter).canonicalName();
      if (inputs.fishers().get(i).sumOfSquares(name).isEmpty()) {
        return false;
      }
    }
    return true;
  }

  // ---- the request itself ----

  private static void checkRequest(MergeRequest request) {
    List<MergeSource> sources = request.sources();
    if (sources.isEmpty()) {
      throw new InputException("there is no model to merge; give at least one");
    }
    List<Path> without =
        sources.stream().filter(s -> s.fisher() == null).map(MergeSource::model).toList();
    if (!without.isEmpty() && without.size() < sources.size()) {
      throw new InputException(
          "some models have a Fisher file and some have none: "
              + without.stream().map(Path::toString).collect(Collectors.joining(", "))
              + ". Give every model its Fisher file, or none.");
    }
    // An average may extrapolate, as task arithmetic does; with Fishers a sum could cross zero.
    double least = without.isEmpty() ? 0 : Double.NEGATIVE_INFINITY;
    double sum = 0;
    for (MergeSource source : sources) {
      double c = source.coefficient();
      if (!(c >= least) || Double.isInfinite(c)) {
        throw new InputException(
            "the coefficient of "
                + source.model()
                + " is "
                + c
                + "; coefficients are finite"
                + (without.isEmpty() ? " and not negative" : ""));
      }
      sum += c;
    }
    if (!(sum > 0)) {
      throw new InputException(
          "the coefficients sum to " + sum + "; at least one must be positive, and the sum too");
    }
    double eps = request.minimalFisher();
    if (!(eps >= 0) || Double.isInfinite(eps)) {
      throw new InputException("--minimal-fisher is " + eps + "; it is finite and not negative");
    }
    if (request.shardBytes() < 1) {
      throw new InputException(
          "--shard-size is " + request.shardBytes() + " bytes; it must be at least 1");
    }
    if (request.shardBytes() != CheckpointWriter.UNBOUNDED && OutputTarget.isSingleFile(request)) {
      throw new InputException(
          "the output " + request.output() + " is one file; shards need a folder as output");
    }
    DType dtype = request.outputDtype();
    if (dtype != null && !dtype.isMergeable()) {
      throw new InputException("the output dtype " + dtype + " is not one of F32, F16, BF16, F64");
    }
  }

  private void checkRepeated() {
    Set<Path> fishers = new HashSet<>();
    Set<List<Path>> models = new HashSet<>();
    for (int i = 0; i < request.sources().size(); i++) {
      MergeSource source = request.sources().get(i);
      if (source.fisher() != null && !fishers.add(real(source.fisher()))) {
        throw new InputException(
            "the Fisher file "
                + source.fisher()
                + " is given twice; every model needs its own. To count a model more, give it a"
                + " larger coefficient.");
      }
      List<Path> files =
          inputs.models().get(i).files().stream().map(header -> real(header.file())).toList();
      if (!models.add(files)) {
        if (source.fisher() == null) {
          throw new InputException(
              "the model "
                  + source.model()
                  + " is given twice; to count it more, give it a larger coefficient");
        }
        warnings.add(
            "the model " + source.model() + " is given twice, with different Fisher files");
      }
    }
  }

  static Path real(Path path) {
    try {
      return path.toRealPath();
    } catch (IOException e) {
      throw new InputException("cannot read " + path + ": " + Reasons.of(e), e);
    }
  }

  // ---- tensors ----

  private void sortTensors(boolean average) {
    Set<String> covered = covered(average);
    Map<String, CheckpointTensor> base = inputs.base().tensors();
    NamePatterns exclusions = new NamePatterns("exclusion", request.exclude(), inputs);
    NamePatterns inclusions = new NamePatterns("inclusion", request.include(), inputs);
    List<Parameter> parameters = Parameters.of(inputs, exclusions::match);
    if (parameters.stream().noneMatch(parameter -> isCovered(parameter, covered))) {
      throw nothingMatches(average);
    }
    Set<CheckpointTensor> keptByRequest = new HashSet<>();
    Set<CheckpointTensor> uncovered = new HashSet<>();
    for (Parameter parameter : parameters) {
      boolean left = exclusions.match(parameter);
      boolean wanted = inclusions.match(parameter) || request.include().isEmpty();
      if (!isCovered(parameter, covered)) {
        uncovered.add(parameter.tensor());
        uncovered.addAll(parameter.copies());
      } else if (left || !wanted) {
        keptByRequest.add(parameter.tensor());
        keptByRequest.addAll(parameter.copies());
        if (left) {
          sayWhatElse(parameter, exclusions);
        }
      } else {
        merged.add(parameter);
      }
    }
    for (CheckpointTensor tensor : base.values()) {
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
    checkInputs();
    warnings.addAll(inputs.base().untied());
    inputs.models().forEach(model -> warnings.addAll(model.untied()));
    Set<String> known = new HashSet<>(base.keySet());
    parameters.forEach(parameter -> known.addAll(parameter.names()));
    for (int i = 0; i < inputs.models().size(); i++) {
      leftOut(inputs.models().get(i).path(), inputs.models().get(i).tensors().values(), known);
    }
    for (FisherFile fisher : inputs.fishers()) {
      leftOut(fisher.path(), fisher.tensors().values(), known);
    }
    Buffers.check(inputs, warnings);
    Buffers.sayWhoseStatistics(carriedOver, "the base's", warnings);
    Buffers.sayWhoseStatistics(
        merged.stream().map(Parameter::tensor).toList(), "averages of the models'", warnings);
  }

  /** Names of what is merged, as the inputs that decide it have them. */
  private Set<String> covered(boolean average) {
    Set<String> covered = new LinkedHashSet<>();
    if (average) {
      // Where the base has a share itself, as in task arithmetic, the others say what is merged.
      List<Path> base = ModelPath.of(request.base()).identity();
      List<Checkpoint> others = new ArrayList<>();
      for (int i = 0; i < inputs.models().size(); i++) {
        Path model = request.sources().get(i).model();
        if (!MergeInputs.model(request, model).identity().equals(base)) {
          others.add(inputs.models().get(i));
        }
      }
      (others.isEmpty() ? inputs.models() : others)
          .forEach(model -> covered.addAll(model.tensors().keySet()));
    } else {
      inputs.fishers().forEach(fisher -> covered.addAll(fisher.tensors().keySet()));
    }
    return covered;
  }

  private static boolean isCovered(Parameter parameter, Set<String> covered) {
    return parameter.names().stream().anyMatch(covered::contains);
  }

  /** A parameter that the exclusion names by one of several names. */
  private void sayWhatElse(Parameter parameter, NamePatterns exclusions) {
    List<CheckpointTensor> all = new ArrayList<>(List.of(parameter.tensor()));
    all.addAll(parameter.copies());
    if (!all.stream().allMatch(exclusions::match)) {
      warnings.add(
          "the exclusion of one name of a tied parameter keeps the base's value of all: "
              + parameter.names().stream()
                  .map(name -> "'" + name + "'")
                  .collect(Collectors.joining(", ")));
    }
  }

  // ---- what inputs have of what is merged ----

  private void checkInputs() {
    List<CheckpointTensor> all = merged.stream().map(Parameter::tensor).toList();
    all.forEach(tensor -> requireMergeable(tensor.info(), tensor.file()));
    for (int i = 0; i < inputs.models().size(); i++) {
      Checkpoint model = inputs.models().get(i);
      check(model.path(), model.tensors(), i, inputs::findValue, all);
      for (Parameter parameter : merged) {
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
      FisherFile fisher = inputs.fishers().get(i);
      check(fisher.path(), fisher.tensors(), i, inputs::findFisher, all);
      for (Parameter parameter : merged) {
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
      List<CheckpointTensor> all) {
    List<CheckpointTensor> missing = new ArrayList<>();
    List<CheckpointTensor> different = new ArrayList<>();
    CheckpointTensor firstDifferent = null;
    Parameter firstMissing = null;
    for (Parameter parameter : merged) {
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
            + request.base()
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

  private InputException nothingMatches(boolean average) {
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

  private void leftOut(Path file, Iterable<CheckpointTensor> tensors, Set<String> base) {
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

  // ---- pairs of model and Fisher ----

  /** Returns the sources whose model must be compared with its SHA-256. */
  private List<Integer> checkPairs() {
    List<Integer> verified = new ArrayList<>();
    Map<Integer, String> fingerprints = new HashMap<>();
    for (int i = 0; i < inputs.fishers().size(); i++) {
      FisherFile fisher = inputs.fishers().get(i);
      FisherMetadata metadata = fisher.metadata().orElse(null);
      if (metadata == null) {
        warnings.add(
            fisher.path()
                + " has no fisher_* metadata: it is taken as a mean over examples, and whether it"
                + " belongs to "
                + inputs.models().get(i).path()
                + " cannot be checked");
        continue;
      }
      String fingerprint = metadata.modelFingerprint();
      String sha256 = metadata.modelSha256();
      if (fingerprint != null && !fingerprint.equals(fingerprint(fingerprints, i))) {
        throw wrongPair(fingerprints, fingerprint, i);
      }
      if (sha256 != null && (request.verifyHashes() || fingerprint == null)) {
        verified.add(i);
      } else if (sha256 == null && (request.verifyHashes() || fingerprint == null)) {
        warnings.add(
            fisher.path()
                + " does not hold the SHA-256 of its model: whether it belongs to "
                + inputs.models().get(i).path()
                + (fingerprint == null
                    ? " cannot be checked"
                    : " was checked by fingerprint only"));
      }
    }
    return verified;
  }

  private String fingerprint(Map<Integer, String> known, int model) {
    return known.computeIfAbsent(model, i -> inputs.models().get(i).fingerprint());
  }

  private InputException wrongPair(Map<Integer, String> known, String wanted, int index) {
    StringBuilder message = new StringBuilder();
    message
        .append(inputs.fishers().get(index).path())
        .append(" was not computed from ")
        .append(inputs.models().get(index).path());
    for (int other = 0; other < inputs.models().size(); other++) {
      if (other != index && wanted.equals(fingerprint(known, other))) {
        return new InputException(
            message
                .append(" but from ")
                .append(inputs.models().get(other).path())
                .append(": the pairs of model and Fisher file are swapped")
                .toString());
      }
    }
    return new InputException(
        message
            .append(", nor from another model of this merge (its fisher_model_fingerprint is ")
            .append(wanted)
            .append("). Compute the Fisher of this model, or give the model it was computed from.")
            .toString());
  }

  private List<String> differentLabels() {
    Map<String, Path> labels = new LinkedHashMap<>();
    for (FisherFile fisher : inputs.fishers()) {
      fisher.metadata().ifPresent(m -> labels.putIfAbsent(m.labels(), fisher.path()));
    }
    if (labels.size() < 2) {
      return List.of();
    }
    return List.of(
        "the Fishers were estimated in different ways, so their scales may differ: "
            + labels.entrySet().stream()
                .map(e -> e.getKey() + " (" + e.getValue() + ")")
                .collect(Collectors.joining(", ")));
  }

  static long dataBytes(Checkpoint model) {
    return model.tensors().values().stream().mapToLong(t -> t.info().byteCount()).sum();
  }
}
