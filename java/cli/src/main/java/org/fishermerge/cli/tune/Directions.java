package org.fishermerge.cli.tune;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.SafetensorsWriter;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.MergeSource;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.ProgressListener;

/**
 * Merges of the same models as directions from their base, each written once, when it is first
 * needed, in F32 and under the base's names.
 */
public final class Directions implements AutoCloseable {
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
  private final Path scratch;
  private final Map<String, Checkpoint> merged = new LinkedHashMap<>();

  /**
   * Nothing is merged yet.
   *
   * @param requests of merges
   * @param sources the models, with the files that rules may need
   * @param session of all of them
   * @param merger of the session
   * @param scratch a folder for the merges
   */
  public Directions(
      Requests requests,
      List<MergeSource> sources,
      MergeSession session,
      Merger merger,
      Kernels kernels,
      Path scratch) {
    this.requests = requests;
    this.sources = List.copyOf(sources);
    this.session = session;
    this.merger = merger;
    this.kernels = kernels;
    this.scratch = scratch;
  }

  /**
   * Refuses, before any work, a search whose merges the disk has no room for.
   *
   * @param most merges at the same time
   */
  void requireRoom(int most, Checkpoint base) {
    long values = base.tensors().values().stream().mapToLong(t -> t.info().elementCount()).sum();
    SafetensorsWriter.requireRoom(scratch, most * values * Float.BYTES);
  }

  /** The merge of a direction at scale 1. */
  Checkpoint of(Direction direction) {
    return merged.computeIfAbsent(direction.name(), name -> merge(direction.rule()));
  }

  private Checkpoint merge(MergeRule rule) {
    MergeRequest.Builder request = request(rule);
    boolean valuesAlone = rule.statistics().isEmpty();
    sources.forEach(source -> request.model(valuesAlone ? withoutFile(source) : source));
    merger.run(session.plan(request.build()), ProgressListener.NONE);
    return Checkpoint.open(next());
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
      models.add(
          merged.computeIfAbsent(
              "model " + models.size() + ": " + source.model(), name -> alone(source)));
    }
    return models;
  }

  private Checkpoint alone(MergeSource source) {
    MergeRequest request = request(new Average()).model(source.model()).build();
    try (MergeSession one = MergeSession.open(request)) {
      one.run(kernels, ProgressListener.NONE);
    }
    return Checkpoint.open(next());
  }

  private MergeRequest.Builder request(MergeRule rule) {
    return requests.of(rule, next()).outputDtype(DType.F32);
  }

  private Path next() {
    return scratch.resolve("direction" + merged.size());
  }

  private static MergeSource withoutFile(MergeSource source) {
    return new MergeSource(source.model(), Optional.empty(), source.coefficient());
  }

  @Override
  public void close() {
    merged.values().forEach(Checkpoint::close);
  }
}
