package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputFiles;
import org.fishermerge.checkpoint.JsonFile;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * The tokenizer of one model's folder, read as far as it decides which ids a text becomes, and only
 * when it is compared with another.
 *
 * @param main the file that says most
 * @param member finds the others
 */
record ComparedTokenizer(Path main, Compatibility.Member member) {
  private static final String FAST = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String SETTINGS = "tokenizer_config.json";

  /** In the order in which transformers looks for them. */
  private static final List<String> MAIN =
      List.of(
          FAST,
          VOCABULARY,
          "vocab.txt",
          "tokenizer.model",
          "spiece.model",
          "sentencepiece.bpe.model");

  /** All that a tokenizer of any kind consists of. */
  private static final List<String> ALL =
      Stream.concat(
              MAIN.stream(),
              Stream.of("merges.txt", "added_tokens.json", "special_tokens_map.json", SETTINGS))
          .toList();

  /** Keys of tokenizer_config.json that change ids; absent, the first ones are off. */
  private static final List<String> FLAGS =
      List.of("add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens");

  private static final List<String> TEXTS =
      List.of(
          "do_lower_case",
          "strip_accents",
          "tokenize_chinese_chars",
          "bos_token",
          "eos_token",
          "unk_token",
          "cls_token",
          "sep_token",
          "mask_token");

  static final SettingsKeys KEYS =
      SettingsKeys.of(
          "tokenizer_config.json, between models that are merged",
          Stream.concat(
                  Stream.concat(FLAGS.stream(), TEXTS.stream()), Stream.of("added_tokens_decoder"))
              .toList(),
          List.of(),
          List.of());

  /** Parts of tokenizer.json beside the vocabulary. */
  private static final List<String> STEPS =
      List.of("normalizer", "pre_tokenizer", "post_processor");

  static Optional<ComparedTokenizer> read(Compatibility.Member member) {
    return MAIN.stream()
        .flatMap(name -> member.file().apply(name).stream())
        .findFirst()
        .map(main -> new ComparedTokenizer(main, member));
  }

  private Optional<Path> find(String name) {
    return member.file().apply(name);
  }

  static List<Difference> differences(ComparedTokenizer one, ComparedTokenizer other) {
    boolean same =
        ALL.stream()
            .allMatch(name -> {
              Path a = one.find(name).orElse(null);
              Path b = other.find(name).orElse(null);
              return (a == null || b == null)
                  ? Objects.equals(a, b)
                  : Compatibility.sameBytes(a, b);
            });
    if (same) {
      return List.of();
    }
    List<Difference> found = new ArrayList<>();
    Content a = one.content();
    Content b = other.content();
    if (a.vocabulary != null && b.vocabulary != null) {
      vocabulary(found, a, b);
    } else if (a.main.equals(b.main) && !Compatibility.sameBytes(one.main, other.main)) {
      found.add(new Difference("tokenizer." + a.main, "the first's", "another's content", true));
    }
    for (String step : a.steps.keySet()) {
      if (b.steps.containsKey(step)
          && !ModelConfig.same("", step, a.steps.get(step), b.steps.get(step))) {
        found.add(Difference.decisive("tokenizer." + step, a.steps.get(step), b.steps.get(step)));
      }
    }
    settings(found, a.settings, b.settings);
    return found;
  }

  private static void vocabulary(List<Difference> found, Content a, Content b) {
    Map<String, String> left = a.all();
    Map<String, String> right = b.all();
    if (!left.equals(right)) {
      Set<String> tokens = new TreeSet<>(left.keySet());
      tokens.addAll(right.keySet());
      List<String> differing =
          tokens.stream()
              .filter(token ->
                  !String.valueOf(left.get(token)).equals(String.valueOf(right.get(token))))
              .toList();
      String token = differing.getFirst();
      found.add(
          new Difference(
              "tokenizer.vocabulary",
              described(left, token),
              described(right, token)
                  + (differing.size() == 1 ? "" : " (" + differing.size() + " tokens differ)"),
              true));
    }
    if (a.merges != null && b.merges != null && !a.merges.equals(b.merges)) {
      int i = 0;
      while (i < Math.min(a.merges.size(), b.merges.size())
          && a.merges.get(i).equals(b.merges.get(i))) {
        i++;
      }
      found.add(Difference.decisive("tokenizer.merges", line(a.merges, i), line(b.merges, i)));
    }
  }

  private static String described(Map<String, String> vocabulary, String token) {
    String id = vocabulary.get(token);
    return "%d tokens, %s %s"
        .formatted(vocabulary.size(), JsonFile.text(token), id == null ? "not there" : "as " + id);
  }

  private static @Nullable String line(List<String> merges, int i) {
    return i < merges.size() ? merges.get(i) : null;
  }

  private static void settings(
      List<Difference> found,
      Map<String, @Nullable Object> one,
      Map<String, @Nullable Object> other) {
    for (String key : FLAGS) {
      Object a = one.get(key);
      Object b = other.get(key);
      boolean stated = a != null && b != null;
      if (Boolean.TRUE.equals(a) != Boolean.TRUE.equals(b)) {
        // Only of the tokenizers of GPT-2 is it known that what is not said is off.
        found.add(
            stated || (isGpt2(one) && isGpt2(other))
                ? Difference.decisive("tokenizer." + key, a, b)
                : Difference.possible("tokenizer." + key, a, b));
      }
    }
    for (String key : TEXTS) {
      Object a = content(one.get(key));
      Object b = content(other.get(key));
      if (a != null && b != null && !a.equals(b)) {
        found.add(Difference.decisive("tokenizer." + key, a, b));
      }
    }
  }

  private static boolean isGpt2(Map<String, @Nullable Object> settings) {
    return !(settings.get("tokenizer_class") instanceof String name) || name.startsWith("GPT2");
  }

  /** A special token is its text, or an object with it. */
  private static @Nullable Object content(@Nullable Object token) {
    return token instanceof Map<?, ?> object ? object.get("content") : token;
  }

  /**
   * What decides about ids.
   *
   * @param vocabulary ids of tokens as text; null if the files do not tell
   * @param merges in their order; null if there are none
   * @param added tokens beside the vocabulary
   */
  private record Content(
      String main,
      @Nullable Map<String, String> vocabulary,
      @Nullable List<String> merges,
      Map<String, String> added,
      Map<String, @Nullable Object> steps,
      Map<String, @Nullable Object> settings) {
    Map<String, String> all() {
      Map<String, String> all = new TreeMap<>(vocabulary == null ? Map.of() : vocabulary);
      added.forEach(all::putIfAbsent);
      return all;
    }
  }

  private Content content() {
    Map<String, @Nullable Object> settings =
        find(SETTINGS).map(JsonFile::object).orElseGet(Map::of);
    Map<String, String> added = new TreeMap<>();
    find("added_tokens.json").ifPresent(path -> added.putAll(ids(JsonFile.object(path))));
    ModelConfig.object(settings.get("added_tokens_decoder"))
        .forEach((id, token) -> added.put(String.valueOf(content(token)), id));
    String name = String.valueOf(main.getFileName());
    Optional<Path> fast = find(FAST);
    if (fast.isPresent()) {
      Map<String, @Nullable Object> json = JsonFile.object(fast.get());
      if (json.get("added_tokens") instanceof List<?> tokens) {
        for (Object token : tokens) {
          Map<String, @Nullable Object> one = ModelConfig.object(token);
          added.put(String.valueOf(one.get("content")), String.valueOf(one.get("id")));
        }
      }
      Map<String, @Nullable Object> model = ModelConfig.object(json.get("model"));
      Map<String, @Nullable Object> steps = new LinkedHashMap<>();
      for (String step : STEPS) {
        steps.put(step, normalised(json.get(step)));
      }
      return new Content(
          name,
          vocabulary(model.get("vocab")),
          merges(model.get("merges")),
          added,
          steps,
          settings);
    }
    Map<String, String> vocabulary =
        find(VOCABULARY)
            .map(path -> ids(JsonFile.object(path)))
            .orElseGet(() -> find("vocab.txt").map(ComparedTokenizer::lines).orElse(null));
    List<String> merges =
        find("merges.txt")
            .map(path ->
                InputFiles.text(path)
                    .lines()
                    .filter(line -> !line.isBlank() && !line.startsWith("#version"))
                    .toList())
            .orElse(null);
    return new Content(name, vocabulary, merges, added, Map.of(), settings);
  }

  private static Map<String, String> ids(Map<String, @Nullable Object> vocabulary) {
    Map<String, String> ids = new TreeMap<>();
    vocabulary.forEach((token, id) -> ids.put(token, String.valueOf(id)));
    return ids;
  }

  private static Map<String, String> lines(Path file) {
    Map<String, String> ids = new TreeMap<>();
    for (String token : InputFiles.text(file).lines().toList()) {
      ids.put(token, String.valueOf(ids.size()));
    }
    return ids;
  }

  /** By token, or a list of tokens with their scores. */
  private static @Nullable Map<String, String> vocabulary(@Nullable Object stated) {
    if (stated instanceof List<?> list) {
      Map<String, String> ids = new TreeMap<>();
      for (int i = 0; i < list.size(); i++) {
        ids.put(JsonFile.text(list.get(i)), String.valueOf(i));
      }
      return ids;
    }
    return stated == null ? null : ids(ModelConfig.object(stated));
  }

  /** "a b" in older files, ["a", "b"] in newer ones. */
  private static @Nullable List<String> merges(@Nullable Object stated) {
    if (!(stated instanceof List<?> list)) {
      return null;
    }
    return list.stream()
        .map(merge ->
            merge instanceof List<?> pair && pair.size() == 2
                ? pair.getFirst() + " " + pair.getLast()
                : String.valueOf(merge))
        .toList();
  }

  /** Without what is absent in older files, or tells where in the text a token was found. */
  private static @Nullable Object normalised(@Nullable Object step) {
    if (step instanceof List<?> list) {
      return list.stream().map(ComparedTokenizer::normalised).toList();
    }
    if (!(step instanceof Map<?, ?>)) {
      return step;
    }
    Map<String, @Nullable Object> all = new TreeMap<>();
    ModelConfig.object(step)
        .forEach((key, value) -> {
          boolean left = key.equals("use_regex") && Boolean.TRUE.equals(value);
          if (value != null && !left && !key.equals("trim_offsets")) {
            all.put(key, normalised(value));
          }
        });
    return all;
  }
}
