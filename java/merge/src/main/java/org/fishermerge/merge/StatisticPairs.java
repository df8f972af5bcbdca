package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.function.LongConsumer;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.checkpoint.StatisticMetadata;

/** Whether each statistic file was computed from the model that it is given with. */
final class StatisticPairs {
  private final MergeInputs inputs;
  private final Map<Integer, String> fingerprints = new HashMap<>();
  private final Map<Integer, String> hashes = new HashMap<>();

  StatisticPairs(MergeInputs inputs) {
    this.inputs = inputs;
  }

  /**
   * Compares fingerprints, which takes a page of each tensor.
   *
   * @param verifyHashes whether the SHA-256 is wanted too
   * @return the places of the models that {@link #verifyHashes} is to look at
   */
  List<Integer> checkFingerprints(boolean verifyHashes, List<String> warnings) {
    List<Integer> verified = new ArrayList<>();
    for (int i = 0; i < inputs.statistics().size(); i++) {
      StatisticFile fisher = inputs.statistics().get(i);
      StatisticMetadata metadata = fisher.metadata().orElse(null);
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
      if (fingerprint != null && !fingerprint.equals(fingerprint(i))) {
        throw wrongPair(
            i,
            fingerprint,
            this::fingerprint,
            ", nor from another model of this merge (its fisher_model_fingerprint is "
                + fingerprint
                + "). Compute the Fisher of this model, or give the model it was computed from.");
      }
      boolean wanted = verifyHashes || fingerprint == null;
      if (wanted && metadata.modelSha256() != null) {
        verified.add(i);
      } else if (wanted) {
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

  /**
   * Hashes models whole, and compares.
   *
   * @param places of the models, as {@link #checkFingerprints} found them
   * @param progress told of the bytes of each model
   */
  void verifyHashes(List<Integer> places, LongConsumer progress) {
    for (int i : places) {
      StatisticFile fisher = inputs.statistics().get(i);
      String wanted = fisher.metadata().map(StatisticMetadata::modelSha256).orElseThrow();
      String found = sha256(i);
      if (!wanted.equals(found)) {
        throw wrongPair(
            i,
            wanted,
            this::sha256,
            ": the SHA-256 of the model's tensors is "
                + found
                + ", but the Fisher file names "
                + wanted);
      }
      progress.accept(dataBytes(inputs.models().get(i)));
    }
  }

  /** What {@link #verifyHashes} reads of a model. */
  static long dataBytes(Checkpoint model) {
    return model.tensors().values().stream().mapToLong(t -> t.info().byteCount()).sum();
  }

  private String fingerprint(int model) {
    return fingerprints.computeIfAbsent(model, i -> inputs.models().get(i).fingerprint());
  }

  private String sha256(int model) {
    return hashes.computeIfAbsent(model, i -> inputs.models().get(i).tensorSha256());
  }

  /**
   * A statistic that is not of its model.
   *
   * @param identity of a model, by its place, to look for the right one among the others
   * @param otherwise how the message ends where none of them is
   */
  private InputException wrongPair(
      int index, String wanted, IntFunction<String> identity, String otherwise) {
    String end = otherwise;
    for (int other = 0; other < inputs.models().size(); other++) {
      if (other != index && wanted.equals(identity.apply(other))) {
        end =
            " but from "
                + inputs.models().get(other).path()
                + ": the pairs of model and Fisher file are swapped";
        break;
      }
    }
    return new InputException(
        inputs.statistics().get(index).path()
            + " was not computed from "
            + inputs.models().get(index).path()
            + end);
  }

  /**
   * A warning where scales may differ; empty where all were estimated in one way.
   *
   * @param used of each file
   */
  List<String> differentLabels(Set<StatisticKind> used) {
    if (!StatisticKind.anyDependsOnLabels(used)) {
      return List.of();
    }
    Map<String, Path> labels = new LinkedHashMap<>();
    for (StatisticFile fisher : inputs.statistics()) {
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
}
