package org.fishermerge.checkpoint;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * Which names of a model are meant to be one parameter. transformers states that per class ({@code
 * _tied_weights_keys}) and switches it by {@code tie_word_embeddings}; the table {@code
 * tied-weights.txt} holds both for every model type. What is stated may be contradicted by the
 * data, where both names are stored with different values: see {@link Checkpoint#namesOf}.
 *
 * @param pairs canonical names without the prefix of an outer model
 * @param stated whether a configuration says in so many words that weights are tied
 * @param open whether there may be ties that the table does not know: there is no configuration, or
 *     its model type is not in the table
 */
record TiedWeights(List<Pair> pairs, boolean stated, boolean open) {
  /** Where nothing is known of the model. */
  static final TiedWeights UNKNOWN = new TiedWeights(List.of(), false, true);

  private static final String TABLE = "tied-weights.txt";

  /** Two names of one parameter. */
  record Pair(String one, String other) {}

  /**
   * What the table says of a model type.
   *
   * @param tied {@code tie_word_embeddings} where config.json does not state it
   * @param always whether weights are tied whatever it states
   * @param open whether more is tied than the pairs
   */
  private record Type(boolean tied, boolean always, boolean open, List<Pair> pairs) {}

  /** Read when the first configuration asks. */
  private static final class Table {
    static final Map<String, Type> TYPES = read();

    private static Map<String, Type> read() {
      Map<String, Type> types = new HashMap<>();
      try (InputStream in = Objects.requireNonNull(TiedWeights.class.getResourceAsStream(TABLE));
          BufferedReader lines =
              new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8))) {
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
          List<String> words = List.of(line.split(" "));
          List<Pair> pairs = new ArrayList<>();
          for (String pair : words.subList(2, words.size())) {
            int equals = pair.indexOf('=');
            if (equals > 0) {
              pairs.add(new Pair(pair.substring(0, equals), pair.substring(equals + 1)));
            }
          }
          String tied = words.get(1);
          types.put(
              words.getFirst(),
              new Type(!tied.equals("no"), tied.equals("always"), words.contains("*"), pairs));
        }
      } catch (IOException e) {
        throw new UncheckedIOException(TABLE, e);
      }
      return types;
    }
  }

  TiedWeights {
    pairs = List.copyOf(pairs);
  }

  /** What any model type of the table ties, for files that do not say what model they are of. */
  static TiedWeights ofAnyModel() {
    Set<Pair> pairs = new LinkedHashSet<>();
    Table.TYPES.values().forEach(type -> pairs.addAll(type.pairs()));
    return new TiedWeights(List.copyOf(pairs), false, true);
  }

  /**
   * What a configuration implies. A nested configuration that ties counts for the whole, as in
   * transformers, where older files state it there.
   */
  static TiedWeights of(WeightConfig config) {
    boolean ties = false;
    boolean stated = false;
    boolean denied = false;
    boolean open = config.parts().isEmpty();
    Set<Pair> pairs = new LinkedHashSet<>();
    for (WeightConfig.Part part : config.parts()) {
      Type type = Table.TYPES.get(part.modelType());
      boolean always = type != null && type.always();
      ties |= part.tied() == null ? type != null && type.tied() : part.tied() || always;
      stated |= Boolean.TRUE.equals(part.tied());
      denied |= Boolean.FALSE.equals(part.tied());
      // Nested configurations of parts without words, of images say, tie nothing.
      open |= type == null ? part.equals(config.parts().getFirst()) : type.open();
      if (type != null) {
        pairs.addAll(type.pairs());
      }
    }
    if (!ties) {
      return new TiedWeights(List.of(), false, open && !denied);
    }
    return new TiedWeights(List.copyOf(pairs), stated || !denied, open);
  }

  /** The names that the pairs tie a canonical name to, canonical too. */
  Set<String> partners(String canonicalName) {
    if (pairs.isEmpty()) {
      return Set.of();
    }
    Set<String> partners = new LinkedHashSet<>();
    for (Pair pair : pairs) {
      partner(canonicalName, pair.one(), pair.other(), partners);
      partner(canonicalName, pair.other(), pair.one(), partners);
    }
    partners.remove(canonicalName);
    return partners;
  }

  private static void partner(String name, String from, String to, Set<String> partners) {
    if (name.equals(ParameterNames.canonical(from))) {
      partners.add(ParameterNames.canonical(to));
    }
    if (name.endsWith("." + from)) {
      String prefix = name.substring(0, name.length() - from.length());
      partners.add(ParameterNames.canonical(prefix + to));
    }
  }
}
