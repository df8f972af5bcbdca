package org.fishermerge.checkpoint;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What a Fisher file says about itself in {@code __metadata__}.
 *
 * @param examples over how many examples the squares were summed; at least 1
 * @param labels the label expectation with its parameters, for example {@code sampled:4}
 * @param dataset what the examples were
 * @param selection how they were chosen
 * @param seed the seed of the choice, in decimal; of added files several, joined with {@code +}
 * @param modelSha256 {@link Checkpoint#tensorSha256} of the model
 * @param modelFingerprint {@link Checkpoint#fingerprint} of the model
 * @param precision what the model was multiplied in, if not fp32
 * @param samplingError the relative standard error that comes from the choice of examples, in
 *     decimal; not known of files that were added
 * @param tool what wrote the file
 */
public record StatisticMetadata(
    long examples,
    String labels,
    @Nullable String dataset,
    @Nullable String selection,
    @Nullable String seed,
    @Nullable String modelSha256,
    @Nullable String modelFingerprint,
    @Nullable String precision,
    @Nullable String samplingError,
    @Nullable String tool) {
  private static final String PREFIX = "fisher_";
  private static final String FORMAT = "fisher_format";

  /** Of files with a value for each parameter, which every version reads. */
  private static final String FORMAT_1 = "1";

  /** Of files that hold something else, as {@link StatisticLayout} says. */
  private static final String FORMAT_2 = "2";

  private static final String EXAMPLES = "fisher_examples";
  private static final String LABELS = "fisher_labels";
  private static final String DATASET = "fisher_dataset";
  private static final String SELECTION = "fisher_selection";
  private static final String SEED = "fisher_seed";
  private static final String MODEL_SHA256 = "fisher_model_sha256";
  private static final String MODEL_FINGERPRINT = "fisher_model_fingerprint";
  private static final String PRECISION = "fisher_precision";
  private static final String SAMPLING_ERROR = "fisher_sampling_error";
  private static final String TOOL = "fisher_tool";
  private static final Set<String> KEYS =
      Set.of(
          FORMAT,
          EXAMPLES,
          LABELS,
          DATASET,
          SELECTION,
          SEED,
          MODEL_SHA256,
          MODEL_FINGERPRINT,
          PRECISION,
          SAMPLING_ERROR,
          TOOL,
          SumsOfSquares.KEY,
          Traces.KEY,
          StatisticLayout.KINDS,
          StatisticLayout.LAYERS);

  private static final Pattern COUNT = Pattern.compile("[0-9]{1,18}");
  private static final Pattern SEEDS = Pattern.compile("-?\\d+(\\+-?\\d+)*");
  private static final Pattern FRACTION = Pattern.compile("\\d+(\\.\\d+)?([eE]-?\\d+)?");
  private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if a value is not of its kind; the message names the key
   */
  public StatisticMetadata {
    if (examples < 1) {
      throw new IllegalArgumentException(
          EXAMPLES + " must be a whole number of 1 or more, found " + examples);
    }
    if (labels.isBlank()) {
      throw new IllegalArgumentException(LABELS + " must name the label expectation, it is blank");
    }
    requireMatch(SEED, seed, SEEDS, "a whole number, or several joined with +");
    requireMatch(SAMPLING_ERROR, samplingError, FRACTION, "a decimal fraction such as 0.12");
    requireMatch(MODEL_SHA256, modelSha256, SHA256, "64 lower-case hexadecimal digits");
    requireMatch(MODEL_FINGERPRINT, modelFingerprint, SHA256, "64 lower-case hexadecimal digits");
  }

  /** Of an estimate in fp32. */
  public StatisticMetadata(
      long examples,
      String labels,
      @Nullable String dataset,
      @Nullable String selection,
      @Nullable String seed,
      @Nullable String modelSha256,
      @Nullable String modelFingerprint,
      @Nullable String tool) {
    this(
        examples,
        labels,
        dataset,
        selection,
        seed,
        modelSha256,
        modelFingerprint,
        null,
        null,
        tool);
  }

  private static void requireMatch(
      String key, @Nullable String value, Pattern pattern, String expected) {
    if (value != null && !pattern.matcher(value).matches()) {
      throw new IllegalArgumentException(
          key + " must be " + expected + ", found " + Messages.quote(value));
    }
  }

  /** The entries of a file with a value for each parameter. */
  public Map<String, String> toMap() {
    return toMap(StatisticLayout.DIAGONAL);
  }

  /** The entries to write, in a fixed order; what is not known is left out. */
  public Map<String, String> toMap(StatisticLayout layout) {
    Map<String, String> map = new LinkedHashMap<>();
    map.put(FORMAT, layout.isPlain() ? FORMAT_1 : FORMAT_2);
    map.putAll(layout.toMap());
    map.put(EXAMPLES, Long.toString(examples));
    map.put(LABELS, labels);
    putIfKnown(map, DATASET, dataset);
    putIfKnown(map, SELECTION, selection);
    putIfKnown(map, SEED, seed);
    putIfKnown(map, MODEL_SHA256, modelSha256);
    putIfKnown(map, MODEL_FINGERPRINT, modelFingerprint);
    putIfKnown(map, PRECISION, precision);
    putIfKnown(map, SAMPLING_ERROR, samplingError);
    putIfKnown(map, TOOL, tool);
    return map;
  }

  private static void putIfKnown(Map<String, String> map, String key, @Nullable String value) {
    if (value != null) {
      map.put(key, value);
    }
  }

  /**
   * Reads the entries of a file.
   *
   * @return empty if the file has none of them
   * @throws InputException if some are missing, unknown or malformed, or the format is not "1"
   */
  public static Optional<StatisticMetadata> from(SafetensorsHeader header) {
    Map<String, String> map = header.metadata();
    Set<String> present = new TreeSet<>(map.keySet());
    present.removeIf(key -> !key.startsWith(PREFIX));
    if (present.isEmpty()) {
      return Optional.empty();
    }
    String format = required(header, FORMAT);
    if (!format.equals(FORMAT_1) && !format.equals(FORMAT_2)) {
      throw problem(
          header,
          FORMAT
              + " is "
              + Messages.quote(format)
              + ", known are \"1\" and \"2\"; the file was written by a newer version of fisher-merge or is"
              + " damaged");
    }
    if (format.equals(FORMAT_2) != map.containsKey(StatisticLayout.KINDS)) {
      throw problem(
          header,
          FORMAT
              + " is "
              + Messages.quote(format)
              + (format.equals(FORMAT_2)
                  ? ", but " + StatisticLayout.KINDS + " is missing"
                  : ", which has no " + StatisticLayout.KINDS));
    }
    present.removeAll(KEYS);
    if (!present.isEmpty()) {
      throw problem(
          header, "the entry " + Messages.quote(present.iterator().next()) + " is unknown");
    }
    String examples = required(header, EXAMPLES);
    String labels = required(header, LABELS);
    if (!COUNT.matcher(examples).matches()) {
      throw problem(
          header,
          EXAMPLES + " must be a whole number of 1 or more, found " + Messages.quote(examples));
    }
    try {
      return Optional.of(
          new StatisticMetadata(
              Long.parseLong(examples),
              labels,
              map.get(DATASET),
              map.get(SELECTION),
              map.get(SEED),
              map.get(MODEL_SHA256),
              map.get(MODEL_FINGERPRINT),
              map.get(PRECISION),
              map.get(SAMPLING_ERROR),
              map.get(TOOL)));
    } catch (IllegalArgumentException e) {
      throw problem(header, String.valueOf(e.getMessage()));
    }
  }

  private static String required(SafetensorsHeader header, String key) {
    String value = header.metadata().get(key);
    if (value == null) {
      throw problem(
          header,
          key
              + " is missing; a Fisher file has all of fisher_format, fisher_examples, fisher_labels");
    }
    return value;
  }

  private static InputException problem(SafetensorsHeader header, String what) {
    return new InputException(header.file() + ": Fisher metadata: " + what);
  }
}
