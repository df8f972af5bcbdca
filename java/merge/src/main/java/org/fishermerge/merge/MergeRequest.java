package org.fishermerge.merge;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.CheckpointWriter;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.NamedTensors;
import org.fishermerge.checkpoint.TensorSink;
import org.jspecify.annotations.Nullable;

/**
 * What to merge, and by which rule. Immutable, and safe for threads; a {@link Builder} is neither.
 *
 * <p>The same Fisher file given twice is an error; so is the same model twice without Fishers (give
 * it a larger coefficient). The same model with different Fisher files is merged, with a warning.
 *
 * @param base gives names, layout, dtypes and every parameter that is not merged, but no share of
 *     the merged ones unless it is among the models too, or the rule gives it one; a Hugging Face
 *     folder or a .safetensors file
 * @param output a folder that transformers opens, or a single file if it ends in .safetensors; with
 *     a sink only what messages and results call the output
 * @param models each with the statistic file that the rule needs, or without if it needs none
 * @param coefficients of the models tensor by tensor, in place of those of {@code models}; null for
 *     these
 * @param exclude regular expressions; a parameter whose name one of them matches from its start
 *     (like Python's {@code re.match}) keeps the base's value and counts in no norm. Tried on the
 *     canonical name, the base's name and the first model's name of it.
 * @param include regular expressions, matched alike; where there are any, only parameters that one
 *     of them matches are merged, and of these none that is excluded
 * @param outputDtype dtype of all floating-point tensors written; null keeps each of the base's
 * @param shardBytes most bytes of tensors in a file of the output, which is cut into shards with an
 *     index if it holds more; {@link CheckpointWriter#UNBOUNDED} for one file
 * @param overwrite whether an existing output is replaced
 * @param verifyHashes whether each model is read whole to compare it with the SHA-256 in its
 *     statistic file; otherwise the cheap fingerprint there is compared, and the SHA-256 only where
 *     it is the sole evidence
 * @param allowDifferent keys of settings files that models may disagree on, as {@link
 *     Compatibility#check} takes them
 * @param measureShares whether the merge also measures what each model has to say in each tensor
 *     ({@link MergeResult#shares}), in its own pass over the data
 * @param inMemory tensors that are in no file, by the paths that stand for them in this request,
 *     which are not looked for on the disk; merged with the same bits as from files
 * @param sink takes the result's tensors, the base's that are not merged among them, in place of a
 *     file; settings files of the base are not copied then. Null to write {@code output}
 */
public record MergeRequest(
    Path base,
    Path output,
    MergeRule rule,
    List<MergeSource> models,
    @Nullable TensorSetting coefficients,
    List<String> exclude,
    List<String> include,
    @Nullable DType outputDtype,
    long shardBytes,
    boolean overwrite,
    boolean verifyHashes,
    List<String> allowDifferent,
    boolean measureShares,
    Map<Path, NamedTensors> inMemory,
    @Nullable TensorSink sink) {
  /** Copies the collections. Nothing is checked before a session opens the request. */
  public MergeRequest {
    models = List.copyOf(models);
    exclude = List.copyOf(exclude);
    include = List.copyOf(include);
    allowDifferent = List.copyOf(allowDifferent);
    inMemory = Map.copyOf(inMemory);
  }

  /** What the merge sums over: the models, and the base where the rule gives it a share. */
  List<MergeSource> operands() {
    return rule.elementwise().operands(base, models);
  }

  /** The same with the coefficients of one tensor, by the base's name of it. */
  List<MergeSource> operands(String tensor) {
    if (coefficients == null) {
      return operands();
    }
    List<MergeSource> sources = new ArrayList<>();
    for (int i = 0; i < models.size(); i++) {
      sources.add(models.get(i).withCoefficient(coefficient(tensor, i)));
    }
    return rule.elementwise().operands(base, sources);
  }

  /** A model's coefficient in one tensor, by the base's name of it. */
  double coefficient(String tensor, int model) {
    return coefficients == null ? models.get(model).coefficient() : coefficients.of(tensor, model);
  }

  /** What a path of the request stands for, to tell whether two are the same. */
  Object identity(Path path) {
    NamedTensors tensors = inMemory.get(path);
    return tensors != null ? tensors : OpenFiles.modelPath(this, path).identity();
  }

  /** Starts a request; see the record's components for what the paths may be. */
  public static Builder builder(Path base, Path output, MergeRule rule) {
    return new Builder(base, output, rule);
  }

  /** Collects a request; every setting but the models has a default. */
  public static final class Builder {
    private final Path base;
    private final Path output;
    private final MergeRule rule;
    private final List<MergeSource> models = new ArrayList<>();
    private final List<String> exclude = new ArrayList<>();
    private final List<String> include = new ArrayList<>();
    private @Nullable TensorSetting coefficients;
    private @Nullable DType outputDtype;
    private long shardBytes = CheckpointWriter.UNBOUNDED;
    private boolean overwrite;
    private boolean verifyHashes;
    private final List<String> allowDifferent = new ArrayList<>();
    private boolean measureShares;
    private final Map<Path, NamedTensors> inMemory = new LinkedHashMap<>();
    private @Nullable TensorSink sink;

    private Builder(Path base, Path output, MergeRule rule) {
      this.base = base;
      this.output = output;
      this.rule = rule;
    }

    /** Adds a model for a rule that needs no statistic, with coefficient 1. */
    public Builder model(Path model) {
      return model(MergeSource.of(model));
    }

    /** Adds a model with its statistic file, with coefficient 1. */
    public Builder model(Path model, Path statistic) {
      return model(MergeSource.of(model, statistic));
    }

    /** Adds a model. */
    public Builder model(MergeSource source) {
      models.add(source);
      return this;
    }

    /** Default null: those of the models. */
    public Builder coefficients(@Nullable TensorSetting value) {
      coefficients = value;
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

    /** Default false. */
    public Builder measureShares(boolean value) {
      measureShares = value;
      return this;
    }

    /**
     * Adds what is not in files: where the base, a model or a statistic is named by {@link
     * NamedTensors#path}, these tensors are meant.
     *
     * @throws IllegalArgumentException if others of the same name were added
     */
    public Builder inMemory(NamedTensors... tensors) {
      for (NamedTensors each : tensors) {
        NamedTensors before = inMemory.put(each.path(), each);
        if (before != null && before != each) {
          throw new IllegalArgumentException(
              "two sets of tensors in memory have the name " + each.path());
        }
      }
      return this;
    }

    /** Default null: the result is written to the disk. */
    public Builder sink(@Nullable TensorSink value) {
      sink = value;
      return this;
    }

    /** The request so far; the builder can be used further. */
    public MergeRequest build() {
      return new MergeRequest(
          base,
          output,
          rule,
          models,
          coefficients,
          exclude,
          include,
          outputDtype,
          shardBytes,
          overwrite,
          verifyHashes,
          allowDifferent,
          measureShares,
          inMemory,
          sink);
    }
  }
}
