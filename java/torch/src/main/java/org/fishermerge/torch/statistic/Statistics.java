package org.fishermerge.torch.statistic;

import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.torch.nn.LayerVisit;

/** Several statistics of the same passes. */
public final class Statistics implements Statistic {
  private final List<Statistic> all;

  /** Of at least one; closed with this. */
  public Statistics(List<? extends Statistic> all) {
    this.all = List.copyOf(all);
  }

  @Override
  public boolean takesInputs() {
    return all.stream().anyMatch(Statistic::takesInputs);
  }

  @Override
  public boolean takesGradients() {
    return all.stream().anyMatch(Statistic::takesGradients);
  }

  @Override
  public void begin(Pass pass) {
    all.forEach(statistic -> statistic.begin(pass));
  }

  @Override
  public void end() {
    all.forEach(Statistic::end);
  }

  @Override
  public boolean needsAllInputs() {
    return all.stream().anyMatch(Statistic::needsAllInputs);
  }

  @Override
  public void visit(LayerVisit visit) {
    all.forEach(statistic -> statistic.visit(visit));
  }

  @Override
  public long bytes() {
    return all.stream().mapToLong(Statistic::bytes).sum();
  }

  @Override
  public long workspaceBytes() {
    return all.stream().mapToLong(Statistic::workspaceBytes).sum();
  }

  @Override
  public long trial(Runnable passes) {
    long[] peak = {0};
    Runnable watched = passes;
    for (Statistic statistic : all) {
      Runnable inner = watched;
      watched = () -> peak[0] = Math.max(peak[0], statistic.trial(inner));
    }
    watched.run();
    return peak[0];
  }

  @Override
  public Map<String, MemorySegment> byName() {
    Map<String, MemorySegment> byName = new LinkedHashMap<>();
    all.forEach(statistic -> byName.putAll(statistic.byName()));
    return byName;
  }

  @Override
  public void store() {
    all.forEach(Statistic::store);
  }

  @Override
  public void scale(double factor) {
    all.forEach(statistic -> statistic.scale(factor));
  }

  @Override
  public void close() {
    all.forEach(Statistic::close);
  }
}
