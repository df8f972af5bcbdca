package org.fishermerge.cli.tune;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.estimate.ContentKey;
import org.fishermerge.estimate.ModelHashes;
import org.fishermerge.estimate.Tool;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.ProgressListener;

/**
 * Merges of the same models as directions from their base, each written once, when it is first
 * needed, in F32 and under the base's names. They lie in the search's progress.
 */
public final class Directions implements AutoCloseable {
  /** Of a merge's hash in the name of its folder. */
  private static final int HASH_DIGITS = 16;

  /** What a merge of the models asks for, but for the models. */
  @FunctionalInterface
  public interface Requests {
    /** A merge by a rule into a folder. */
    MergeRequest.Builder of(MergeRule rule, Path output);
  }

  private final Requests requests;
  private final List<MergeSource> sources;
  private final MergeSession session;
  private final Merger merger;
  private final Kernels kernels;
  private final SearchProgress progress;
  private final Map<String, Checkpoint> merged = new LinkedHashMap<>();

  /**
   * Nothing is merged yet.
   *
   * @param requests of merges
   * @param sources the models, with the files that rules may need
   * @param session of all of them
   * @param merger of the session
   * @param progress begun before the first merge
   */
  public Directions(
      Requests requests,
      List<MergeSource> sources,
      MergeSession session,
      Merger merger,
      Kernels kernels,
      SearchProgress progress) {
    this.requests = requests;
    this.sources = List.copyOf(sources);
    this.session = session;
    this.merger = merger;
    this.kernels = kernels;
    this.progress = progress;
  }

  /**
   * Refuses, before any work, a search whose merges the disk has no room for.
   *
   * @param most merges at the same time
   */
  void requireRoom(int most, Checkpoint base) {
    long values = base.tensors().values().stream().mapToLong(t -> t.info().elementCount()).sum();
    long missing = Math.max(0, most - progress.merges());
    SafetensorsWriter.requireRoom(progress.place(), missing * values * Float.BYTES);
  }

  /** All that merges and what is measured of them depend on. */
  ContentKey key() {
    MergePlan plan = session.plan();
    ContentKey key = key(plan);
    key.add(kernels.usesGpu());
    // Names of what is merged, whatever options choose it.
    plan.merged().forEach(key::add);
    return key;
  }

  /** The files of a merge, by content, and how it runs. */
  public static ContentKey key(MergePlan plan) {
    MergeRequest request = plan.request();
    ModelHashes hashes = new ModelHashes();
    ContentKey key =
        new ContentKey("fisher-merge search 1")
            .add(Tool.nameAndVersion())
            .add(hashes.of(request.base()))
            .addFiles(ModelPath.of(request.base()).base(), List.of("config.json"));
    for (MergeSource source : request.models()) {
      key.add(hashes.of(source.model())).add(source.coefficient());
      source.statistic().ifPresent(key::addFile);
    }
    return key;
  }

  /** The merge of a direction at scale 1. */
  Checkpoint of(Direction direction) {
    return merged.computeIfAbsent(
        direction.name(),
        name -> opened(direction.rule().toString(), folder -> merge(direction.rule(), folder)));
  }

  private Checkpoint opened(String what, Consumer<Path> merge) {
    String hash = new ContentKey(what).hex().substring(0, HASH_DIGITS);
    return Checkpoint.open(progress.merged("direction-" + hash, merge));
  }

  private void merge(MergeRule rule, Path folder) {
    MergeRequest.Builder request = request(rule, folder);
    boolean valuesAlone = rule.statistics().isEmpty();
    sources.forEach(source -> request.model(valuesAlone ? withoutFile(source) : source));
    merger.run(session.plan(request.build()), ProgressListener.NONE);
  }

  /** Canonical names of what is merged. */
  Set<String> mergedNames() {
    return session.plan().merged().stream()
        .map(ParameterNames::canonical)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  /** The models themselves, as directions. */
  List<Checkpoint> models() {
    List<Checkpoint> models = new ArrayList<>();
    for (MergeSource source : sources) {
      String name = "model " + models.size() + ": " + source.model();
      models.add(
          merged.computeIfAbsent(
              name, same -> opened(name, folder -> alone(source.model(), folder))));
    }
    return models;
  }

  private void alone(Path model, Path folder) {
    MergeRequest request = request(new Average(), folder).model(model).build();
    try (MergeSession one = MergeSession.open(request)) {
      one.run(kernels, ProgressListener.NONE);
    }
  }

  private MergeRequest.Builder request(MergeRule rule, Path folder) {
    return requests.of(rule, folder).outputDtype(DType.F32);
  }

  private static MergeSource withoutFile(MergeSource source) {
    return new MergeSource(source.model(), Optional.empty(), source.coefficient());
  }

  @Override
  public void close() {
    merged.values().forEach(Checkpoint::close);
  }
}
