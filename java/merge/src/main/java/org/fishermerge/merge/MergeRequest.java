package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.jspecify.annotations.Nullable;

/**
 * What to merge. Per element j,
 *
 * <pre>
 * theta_j = sum_i c'_i (F_ij + eps) theta_ij / sum_i c'_i (F_ij + eps)
 * </pre>
 *
 * with F_i the mean Fisher of model i (Matena and Raffel 2022), eps the minimal Fisher and c'_i the
 * coefficient of the source, normalised as {@link Normalization} says. Without Fisher files, {@code
 * sum_i c_i theta_i / sum_i c_i}. Sums are taken in double and rounded once to the output's dtype.
 * eps = 0 is the limit eps to 0 from above: where every Fisher is zero, the coefficients alone
 * weigh.
 *
 * <p>The same Fisher file given twice is an error; so is the same model twice without Fishers (give
 * it a larger coefficient). The same model with different Fisher files is merged, with a warning.
 *
 * @param base gives names, layout, dtypes and every parameter that is not merged, but no share of
 *     the merged ones unless it is among the sources too; a Hugging Face folder or a .safetensors
 *     file
 * @param output a folder that transformers opens, or a single file if it ends in .safetensors
 * @param sources all with Fisher files, or all without
 * @param baseHasShare whether the last source is the base with what the models leave it, as in task
 *     arithmetic
 * @param minimalFisher eps, finite and not negative, added to the mean Fisher of every model
 * @param exclude regular expressions; a parameter whose name one of them matches from its start
 *     (like Python's {@code re.match}) keeps the base's value and counts in no norm. Tried on the
 *     canonical name, the base's name and the first model's name of it.
 * @param include regular expressions, matched alike; where there are any, only parameters that one
 *     of them matches are merged, and of these none that is excluded
 * @param outputDtype dtype of all floating-point tensors written; null keeps each of the base's
 * @param shardBytes most bytes of tensors in a file of the output, which is cut into shards with an
 *     index if it holds more; {@link CheckpointWriter#UNBOUNDED} for one file
 * @param overwrite whether an existing output is replaced
 * @param verifyHashes whether each model is read whole to compare it with the SHA-256 in its Fisher
 *     file; otherwise the cheap fingerprint there is compared, and the SHA-256 only where it is the
 *     sole evidence
 * @param allowDifferent keys of settings files that models may disagree on, as {@link
 *     Compatibility#check} takes them
 */
public record MergeRequest(
    Path base,
    Path output,
    List<MergeSource> sources,
    boolean baseHasShare,
    Normalization normalization,
    double minimalFisher,
    List<String> exclude,
    List<String> include,
    @Nullable DType outputDtype,
    long shardBytes,
    boolean overwrite,
    boolean verifyHashes,
    List<String> allowDifferent) {
  /** How many models are merged: the sources, without the base's own share. */
  public int models() {
    return sources.size() - (baseHasShare ? 1 : 0);
  }

  /** FusionBench's {@code minimal_fisher_weight}. */
  public static final double DEFAULT_MINIMAL_FISHER = 1e-6;

  public MergeRequest {
    sources = List.copyOf(sources);
    exclude = List.copyOf(exclude);
    include = List.copyOf(include);
    allowDifferent = List.copyOf(allowDifferent);
  }

  /** Starts a request; see the record's components for what the paths may be. */
  public static Builder builder(Path base, Path output) {
    return new Builder(base, output);
  }

  /** Collects a request; every setting but the models has a default. */
  public static final class Builder {
    private final Path base;
    private final Path output;
    private final List<MergeSource> sources = new ArrayList<>();
    private @Nullable MergeSource baseShare;
    private Normalization normalization = Normalization.MODEL;
    private double minimalFisher = DEFAULT_MINIMAL_FISHER;
    private final List<String> exclude = new ArrayList<>();
    private final List<String> include = new ArrayList<>();
    private @Nullable DType outputDtype;
    private long shardBytes = CheckpointWriter.UNBOUNDED;
    private boolean overwrite;
    private boolean verifyHashes;
    private final List<String> allowDifferent = new ArrayList<>();

    private Builder(Path base, Path output) {
      this.base = base;
      this.output = output;
    }

    /** Adds a model to be averaged without a Fisher, with coefficient 1. */
    public Builder model(Path model) {
      return source(new MergeSource(model, null, 1));
    }

    /** Adds a model with its Fisher file and coefficient 1. */
    public Builder model(Path model, Path fisher) {
      return source(new MergeSource(model, fisher, 1));
    }

    /** Adds a model. */
    public Builder source(MergeSource source) {
      sources.add(source);
      return this;
    }

    /** Gives the base a share of its own, as task arithmetic does; it counts as no model. */
    public Builder baseShare(double coefficient) {
      baseShare = new MergeSource(base, null, coefficient);
      return this;
    }

    /** Default {@link Normalization#MODEL}; of no effect without Fishers. */
    public Builder normalization(Normalization value) {
      normalization = value;
      return this;
    }

    /** Default {@link #DEFAULT_MINIMAL_FISHER}; of no effect without Fishers. */
    public Builder minimalFisher(double value) {
      minimalFisher = value;
      return this;
    }

    /** Adds a regular expression of parameters to leave at the base's values. */
    public Builder exclude(String regex) {
      exclude.add(regex);
      return this;
    }

    /** Adds a regular expression of parameters to merge; those that none matches are left. */
    public Builder include(String regex) {
      include.add(regex);
      return this;
    }

    /** Default null: the base's dtypes. */
    public Builder outputDtype(@Nullable DType value) {
      outputDtype = value;
      return this;
    }

    /** Default {@link CheckpointWriter#UNBOUNDED}: one file. */
    public Builder shardBytes(long value) {
      shardBytes = value;
      return this;
    }

    /** Default false. */
    public Builder overwrite(boolean value) {
      overwrite = value;
      return this;
    }

    /** Default false. */
    public Builder verifyHashes(boolean value) {
      verifyHashes = value;
      return this;
    }

    /** Adds a key of settings files that models may disagree on. */
    public Builder allowDifferent(String key) {
      allowDifferent.add(key);
      return this;
    }

    public MergeRequest build() {
      List<MergeSource> all = new ArrayList<>(sources);
      if (baseShare != null) {
        all.add(baseShare);
      }
      return new MergeRequest(
          base,
          output,
          all,
          baseShare != null,
          normalization,
          minimalFisher,
          exclude,
          include,
          outputDtype,
          shardBytes,
          overwrite,
          verifyHashes,
          allowDifferent);
    }
  }
}
