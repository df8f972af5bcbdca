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
import java.util.Set;
import java.util.stream.Collectors;
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

  private final MergeRequest request;
  private final MergeInputs inputs;
  private final List<String> warnings = new ArrayList<>();
  private final List<CheckpointTensor> merged = new ArrayList<>();
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
      return new Planner(request, inputs).plan();
    }
  }

  private MergePlan plan() {
    boolean average = inputs.fishers().isEmpty();
    warnings.addAll(inputs.base().warnings());
    inputs.models().forEach(model -> warnings.addAll(model.warnings()));
    checkRepeated();
    sortTensors(average);
    List<Integer> verified = average ? List.of() : checkPairs();
    warnings.addAll(differentLabels());
    long hashedBytes = verified.stream().mapToLong(i -> dataBytes(inputs.models().get(i))).sum();
    long fisherBytes = 0;
    long mergedBytes = 0;
    long widest = 1;
    for (CheckpointTensor tensor : merged) {
      long model = 0;
      long fisher = 0;
      for (Checkpoint checkpoint : inputs.models()) {
        model += checkpoint.tensor(tensor.canonicalName()).info().byteCount();
      }
      for (FisherFile file : inputs.fishers()) {
        fisher += tensorOf(file, tensor.canonicalName()).info().byteCount();
      }
      fisherBytes += fisher;
      mergedBytes += model + fisher;
      long elements = tensor.info().elementCount();
      if (elements > 0) {
        widest = Math.max(widest, (model + fisher + tensor.info().byteCount()) / elements);
      }
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
        merged.stream()
            .allMatch(tensor ->
                inputs.fishers().stream()
                    .allMatch(file -> file.sumOfSquares(tensor.canonicalName()).isPresent())));
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
      throw new InputException("minimal-fisher is " + eps + "; it is finite and not negative");
    }
    if (request.shardBytes() < 1) {
      throw new InputException(
          "the shard size is " + request.shardBytes() + " bytes; it must be at least 1");
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
    for (MergeSource source : request.sources()) {
      if (source.fisher() != null && !fishers.add(real(source.fisher()))) {
        throw new InputException(
            "the Fisher file "
                + source.fisher()
                + " is given twice; every model needs its own. To count a model more, give it a"
                + " larger coefficient.");
      }
      if (!models.add(MergeInputs.model(request, source.model()).identity())) {
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
    Map<String, CheckpointTensor> base = inputs.base().tensors();
    if (covered.stream().noneMatch(name -> base.containsKey(name) && isMergeableIn(base, name))) {
      throw nothingMatches(average, covered);
    }
    Checkpoint first = inputs.models().getFirst();
    NamePatterns exclusions = new NamePatterns("exclusion", request.exclude(), first);
    NamePatterns inclusions = new NamePatterns("inclusion", request.include(), first);
    for (CheckpointTensor tensor : base.values()) {
      String name = tensor.canonicalName();
      boolean kept = exclusions.match(tensor);
      kept |= !inclusions.match(tensor) && !request.include().isEmpty();
      if (tensor.info().dtype().isInteger() || !covered.contains(name)) {
        carriedOver.add(tensor);
      } else if (kept) {
        excluded.add(tensor);
      } else {
        checkTensor(tensor);
        merged.add(tensor);
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
    for (int i = 0; i < inputs.models().size(); i++) {
      leftOut(inputs.models().get(i).path(), inputs.models().get(i).tensors().values(), base);
    }
    for (FisherFile fisher : inputs.fishers()) {
      leftOut(fisher.path(), fisher.tensors().values(), base);
    }
  }

  private static boolean isMergeableIn(Map<String, CheckpointTensor> base, String name) {
    CheckpointTensor tensor = base.get(name);
    return tensor != null && !tensor.info().dtype().isInteger();
  }

  private void checkTensor(CheckpointTensor tensor) {
    String name = tensor.canonicalName();
    requireMergeable(tensor.info(), tensor.file());
    Path covering = inputs.coveringFile(name);
    for (Checkpoint model : inputs.models()) {
      if (!model.has(name)) {
        throw notEverywhere(model.path(), tensor.info().name(), covering);
      }
      CheckpointTensor found = model.tensor(name);
      requireMergeable(found.info(), found.file());
      requireSameShape(tensor, found);
    }
    for (FisherFile fisher : inputs.fishers()) {
      CheckpointTensor found = fisher.tensors().get(name);
      if (found == null) {
        throw notEverywhere(fisher.path(), tensor.info().name(), covering);
      }
      requireSameShape(tensor, found);
    }
  }

  private static InputException notEverywhere(Path lacking, String tensor, Path covering) {
    return new InputException(
        lacking
            + " has no tensor '"
            + tensor
            + "', but "
            + covering
            + " has one: a parameter is merged from all models or from none. "
            + toKeep(tensor));
  }

  private static void requireMergeable(TensorInfo info, Path file) {
    if (!info.dtype().isMergeable()) {
      throw new InputException(
          file
              + ": tensor '"
              + info.name()
              + "' has dtype "
              + info.dtype()
              + ", which cannot be merged (F32, F16, BF16 and F64 can). Convert it. "
              + toKeep(info.name()));
    }
  }

  private static void requireSameShape(CheckpointTensor base, CheckpointTensor found) {
    List<Long> expected = base.info().shape();
    List<Long> actual = found.info().shape();
    if (actual.equals(expected)) {
      return;
    }
    String hint =
        actual.reversed().equals(expected)
            ? ": it looks transposed. "
            : ": models of one architecture are needed. ";
    throw new InputException(
        found.file()
            + ": tensor '"
            + found.info().name()
            + "' has shape "
            + found.info().shapeText()
            + ", but "
            + base.file()
            + " has "
            + base.info().shapeText()
            + hint
            + toKeep(base.info().name()));
  }

  private static String toKeep(String tensor) {
    return "To keep the base's value, exclude '" + tensor.replace(".", "\\.") + "'.";
  }

  private InputException nothingMatches(boolean average, Set<String> covered) {
    Path other = average ? inputs.models().getFirst().path() : inputs.fishers().getFirst().path();
    return new InputException(
        "no tensor of "
            + other
            + " is a parameter of the base "
            + inputs.base().path()
            + ": "
            + other.getFileName()
            + " has "
            + examples(covered)
            + "; the base has "
            + examples(inputs.base().tensors().keySet())
            + ". Are they of the same architecture?");
  }

  private void leftOut(
      Path file, Iterable<CheckpointTensor> tensors, Map<String, CheckpointTensor> base) {
    Set<String> names = new LinkedHashSet<>();
    for (CheckpointTensor tensor : tensors) {
      // Older writers store position_ids, newer ones do not: its absence means nothing.
      if (!base.containsKey(tensor.canonicalName()) && !tensor.info().dtype().isInteger()) {
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

  static CheckpointTensor tensorOf(FisherFile fisher, String canonicalName) {
    CheckpointTensor tensor = fisher.tensors().get(canonicalName);
    if (tensor == null) {
      throw new InputException(fisher.path() + " has no tensor '" + canonicalName + "'");
    }
    return tensor;
  }

  static long dataBytes(Checkpoint model) {
    return model.tensors().values().stream().mapToLong(t -> t.info().byteCount()).sum();
  }
}
