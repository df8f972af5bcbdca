package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.mm;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SettingsKeys;
import org.jspecify.annotations.Nullable;

/**
 * GPT-2 with a linear head on the last token, as transformers' GPT2ForSequenceClassification: the
 * classes' logits are {@code score.weight} times the hidden state of the right-most token that is
 * not the pad token. The backbone's parameters are studied; the head is frozen. Not thread-safe.
 */
public final class Gpt2Classifier implements Classifier, AutoCloseable {
  /** Keys of a GPT-2's config.json. */
  public static final SettingsKeys CONFIG_KEYS = Gpt2Config.KEYS;

  private static final String SCORE = "score.weight";

  private final Gpt2Tower tower;
  private final OptionalLong padToken;
  private final LayerParameters headParameters;
  private final Tensor score; // [K, D]
  private final List<String> warnings;

  private Gpt2Classifier(Gpt2Tower tower, Checkpoint head, LayerParameters headParameters) {
    this.tower = tower;
    this.headParameters = headParameters;
    Gpt2Config ofHead = Gpt2Config.of(head);
    this.padToken = ofHead.padToken();
    this.warnings =
        Stream.concat(tower.config().warnings().stream(), ofHead.warnings().stream())
            .distinct()
            .toList();
    List<Long> shape = head.tensor(SCORE).info().shape();
    if (shape.size() != 2 || shape.getFirst() < 2) {
      throw new InputException(
          head.tensor(SCORE).file()
              + ": "
              + head.tensor(SCORE).info().name()
              + " has shape "
              + head.tensor(SCORE).info().shapeText()
              + "; expected [classes, width] of at least two classes");
    }
    if (ofHead.labels().isPresent() && ofHead.labels().getAsInt() != shape.getFirst()) {
      throw new InputException(
          "%s: %s has %d classes, but the config.json beside it states %d (id2label, or else"
                  .formatted(
                      head.tensor(SCORE).file(),
                      SCORE,
                      shape.getFirst(),
                      ofHead.labels().getAsInt())
              + " num_labels); weights and configuration do not belong together");
    }
    if (shape.getLast() != tower.config().width()) {
      throw new InputException(
          "%s: %s takes features %d wide; the backbone's are %d wide"
              .formatted(
                  head.tensor(SCORE).file(), SCORE, shape.getLast(), tower.config().width()));
    }
    this.score = headParameters.read(SCORE, shape.getFirst(), shape.getLast()).tensor();
  }

  /** Whether a model folder holds a GPT-2. */
  public static boolean describes(Checkpoint checkpoint) {
    return Gpt2Config.describes(checkpoint);
  }

  /**
   * Reads the config.json of a GPT-2 and leaves it at that.
   *
   * @throws InputException if it is of another model, or says what is not supported
   */
  public static void check(Path config) {
    Gpt2Config.of(config);
  }

  /** What is odd about the configurations but does not stop their use. */
  public List<String> warnings() {
    return warnings;
  }

  /**
   * Reads a GPT2ForSequenceClassification folder.
   *
   * @throws InputException if config.json or a tensor is missing, says what is not supported, or a
   *     shape is not what the configuration implies
   */
  public static Gpt2Classifier load(Checkpoint model) {
    return load(model, model);
  }

  /**
   * Reads a backbone (GPT2Model, or a classification model whose head is left aside) and the head
   * of a GPT2ForSequenceClassification folder, whose pad token also counts.
   */
  public static Gpt2Classifier load(Checkpoint backbone, Checkpoint head) {
    if (!head.has(SCORE)) {
      throw new InputException(
          head.path()
              + ": no tensor "
              + SCORE
              + "; a GPT-2 needs the head of a GPT2ForSequenceClassification folder to classify");
    }
    Gpt2Tower tower = Gpt2Tower.load(backbone);
    LayerParameters headParameters = new LayerParameters(head);
    try {
      return new Gpt2Classifier(tower, head, headParameters);
    } catch (RuntimeException | Error e) {
      headParameters.close();
      tower.close();
      throw e;
    }
  }

  /**
   * What a classification model calls its classes, from id2label or label2id in its config.json;
   * empty if it does not say.
   */
  public static Optional<List<String>> classNames(Checkpoint model) {
    return model.config().flatMap(file -> JsonConfig.read(file).classNames());
  }

  /** The most tokens of a text. */
  public int positions() {
    return tower.config().positions();
  }

  /** The id that fills texts up, which the head's folder states, if it does. */
  public OptionalLong padToken() {
    return padToken;
  }

  /**
   * The tokens of a text that count: up to the right-most that is not the pad token. What follows
   * reaches neither logits nor gradients, since attention looks back only. None count where all are
   * the pad token, or there are none.
   *
   * @param ids token ids
   * @param where how messages name the text
   * @throws InputException if there are more than the model has positions, or an id lies outside
   *     the vocabulary
   */
  public long[] realTokens(long[] ids, String where) {
    int length = ids.length;
    while (length > 0 && padToken.isPresent() && ids[length - 1] == padToken.getAsLong()) {
      length--;
    }
    if (length > positions()) {
      throw new InputException(
          "%s: %d tokens; the model has positions for %d (n_positions): truncate the text"
              .formatted(where, length, positions()));
    }
    int vocabulary = tower.config().vocabulary();
    for (int t = 0; t < length; t++) {
      if (ids[t] < 0 || ids[t] >= vocabulary) {
        throw new InputException(
            "%s: token %d has id %d; the model's vocabulary is 0 to %d (vocab_size): the tokenizer"
                    .formatted(where, t, ids[t], vocabulary - 1)
                + " belongs to another model, or has added tokens that this one has no embeddings"
                + " for");
      }
    }
    return length == ids.length ? ids : Arrays.copyOf(ids, length);
  }

  @Override
  public int classCount() {
    return Math.toIntExact(score.size(0));
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return tower.parameterGroups();
  }

  /**
   * Class logits, row-major [examples, K].
   *
   * @param batch texts as {@link #realTokens} gives them
   */
  public float[] logits(TokenBatch batch) {
    return logits(batch, null);
  }

  /**
   * Runs a batch and keeps its activations.
   *
   * @param batch texts as {@link #realTokens} gives them
   * @return to be closed by the caller
   */
  public ForwardPass forward(TokenBatch batch) {
    Gpt2Tower.Tape tape = new Gpt2Tower.Tape();
    try {
      return new Pass(logits(batch, tape), batch, tape);
    } catch (RuntimeException | Error e) {
      tape.close();
      throw e;
    }
  }

  private float[] logits(TokenBatch batch, Gpt2Tower.@Nullable Tape tape) {
    LibTorch.initialize();
    try (PointerScope scope = new PointerScope()) {
      Tensor pooled = tower.forward(batch, tape);
      float[] logits = Tensors.floats(LibTorch.exactly(() -> mm(pooled, score.t())));
      pooled.close();
      return logits;
    }
  }

  private final class Pass extends ForwardPass {
    private final long width;
    private final Gpt2Tower.Tape tape;

    Pass(float[] logits, TokenBatch batch, Gpt2Tower.Tape tape) {
      super(logits, batch.examples());
      this.width = batch.width();
      this.tape = tape;
    }

    @Override
    long bytesPerProbe() {
      Gpt2Config config = tower.config();
      return examples()
          * width
          * Math.max(config.mlpWidth(), config.heads() * width)
          * (long) Float.BYTES;
    }

    @Override
    void backward(
        Tensor logitCotangents, @Nullable Tensor examples, FisherAccumulator fisher, boolean last) {
      Tensor pooled = LibTorch.exactly(() -> logitCotangents.matmul(score));
      tower.backward(pooled, examples, tape, fisher, last);
      pooled.close();
    }

    @Override
    public void close() {
      tape.close();
    }
  }

  @Override
  public void close() {
    headParameters.close();
    tower.close();
  }
}
