package org.fishermerge.benchmarks;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** A benchmark's output: a table for people, then one flat JSON object for programs. */
final class Report {
  private final Map<String, Double> ratios = new LinkedHashMap<>();

  void line(String format, Object... arguments) {
    System.out.printf(Locale.ROOT, format + "%n", arguments);
  }

  void ratio(String key, double value) {
    ratios.put(key, value);
  }

  void finish() {
    System.out.println(
        ratios.entrySet().stream()
            .map(e -> String.format(Locale.ROOT, "\"%s\": %.4f", e.getKey(), e.getValue()))
            .collect(Collectors.joining(", ", "{", "}")));
  }
}
