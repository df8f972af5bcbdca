package org.fishermerge.torch.arch;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.nn.Counting;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.TokenBatch;
import org.jspecify.annotations.Nullable;

/**
 * A transformer that classifies texts by the state of one token, their first or their last. The
 * backbone's parameters are studied; the head's too if that is asked for. Not thread-safe.
 */
public final class TextClassifier implements Classifier, AutoCloseable {
  /**
   * What texts the model takes.
   *
   * @param vocabulary number of token ids
   * @param positions the most tokens of a text, of those that are counted
   * @param counting which tokens take a position of their own
   * @param positionsKey what config.json calls that
   * @param types number of token types
   * @param padToken the id that fills texts up to a common length, if the model has one
   * @param alignment which token classifies: the first, or the last
   */
  record Inputs(
      int vocabulary,
      int positions,
      Counting counting,
      String positionsKey,
      int types,
      OptionalLong padToken,
      TokenBatch.Alignment alignment) {}

  private final Inputs inputs;
  private final Network<TokenBatch> backbone;
  private final ClassifierHead head;
  private final NetworkClassifier<TokenBatch> classifier;
  private final List<String> warnings;

  /**
   * Puts a backbone under a head; owns both.
   *
   * @param backbone closed if the head cannot be read
   * @param head reads it
   */
  static TextClassifier of(
      Inputs inputs,
      Network<TokenBatch> backbone,
      Supplier<ClassifierHead> head,
      List<String> warnings) {
    try {
      return new TextClassifier(inputs, backbone, head.get(), warnings, backbone.parameters());
    } catch (RuntimeException | Error e) {
      backbone.close();
      throw e;
    }
  }

  private TextClassifier(
      Inputs inputs,
      Network<TokenBatch> backbone,
      ClassifierHead head,
      List<String> warnings,
      List<ParameterGroup> studied) {
    this.inputs = inputs;
    this.backbone = backbone;
    this.head = head;
    this.warnings = List.copyOf(warnings);
    this.classifier = new NetworkClassifier<>(backbone, head.layers(), head.classCount(), studied);
  }

  /** The same classifier with the head's parameters among those that are studied. */
  public TextClassifier withHead() {
    return new TextClassifier(
        inputs,
        backbone,
        head,
        warnings,
        Stream.concat(backbone.parameters().stream(), head.parameters().stream()).toList());
  }

  /** The network under the head. */
  public Network<TokenBatch> backbone() {
    return backbone;
  }

  /**
   * This head on another classifier's backbone, which stays that one's. Frees the weights of this
   * one's own, so that it cannot be used any more.
   */
  public TextClassifier onBackboneOf(TextClassifier other) {
    backbone.close();
    return new TextClassifier(inputs, other.backbone, head, warnings, other.backbone.parameters());
  }

  /** What is odd about the configurations but does not stop their use. */
  public List<String> warnings() {
    return warnings;
  }

  /** The most tokens of a text. */
  public int positions() {
    return inputs.positions;
  }

  /** The id that fills texts up, which the head's folder states, if it does. */
  public OptionalLong padToken() {
    return inputs.padToken;
  }

  /**
   * The tokens of a text that reach logits and gradients. A model that classifies by the last token
   * takes, as transformers does, the right-most that is not the pad token. One that classifies by
   * the first takes all that an attention mask shows it, pad tokens too; where nothing tells how
   * long the text is, up to the right-most that is not the pad token. None count where all are left
   * out, or there are none.
   *
   * @param ids token ids
   * @param complete whether these are known to be the text, by a mask or since it was not padded
   * @param where how messages name the text
   * @throws InputException if there are more than the model has positions, or an id lies outside
   *     the vocabulary
   */
  public long[] realTokens(long[] ids, boolean complete, String where) {
    int length = ids.length;
    if (!complete || inputs.alignment == TokenBatch.Alignment.END) {
      while (length > 0
          && inputs.padToken.isPresent()
          && ids[length - 1] == inputs.padToken.getAsLong()) {
        length--;
      }
    }
    long[] real = length == ids.length ? ids : Arrays.copyOf(ids, length);
    int counted = inputs.counting.count(real);
    if (counted > inputs.positions) {
      throw new InputException(
          "%s: %d tokens; the model has positions for %d (%s): truncate the text"
              .formatted(where, counted, inputs.positions, inputs.positionsKey));
    }
    for (int t = 0; t < length; t++) {
      if (ids[t] < 0 || ids[t] >= inputs.vocabulary) {
        throw new InputException(
            "%s: token %d has id %d; the model's vocabulary is 0 to %d (vocab_size): the tokenizer"
                    .formatted(where, t, ids[t], inputs.vocabulary - 1)
                + " belongs to another model, or has added tokens that this one has no embeddings"
                + " for");
      }
    }
    return real;
  }

  /**
   * Refuses token types that the model does not have.
   *
   * @param where how messages name the text
   */
  public void requireTypes(long[] types, String where) {
    for (int t = 0; t < types.length; t++) {
      if (types[t] < 0 || types[t] >= inputs.types) {
        throw new InputException(
            "%s: token %d is of type %d; the model's types are 0 to %d (type_vocab_size)"
                .formatted(where, t, types[t], inputs.types - 1));
      }
    }
  }

  /**
   * Texts that run together.
   *
   * @param texts as {@link #realTokens} gives them
   * @param types of their tokens, as long as the texts; null for type 0
   */
  public TokenBatch batch(List<long[]> texts, @Nullable List<long[]> types) {
    return TokenBatch.of(texts, types, inputs.alignment);
  }

  /** Class logits, row-major [examples, K]. */
  public float[] logits(TokenBatch batch) {
    return classifier.logits(batch);
  }

  /**
   * Runs a batch and keeps its activations.
   *
   * @return to be closed by the caller
   */
  public ForwardPass forward(TokenBatch batch) {
    return classifier.forward(batch);
  }

  /**
   * Runs a batch.
   *
   * @return to be closed by the caller; can be pulled back only if that is wanted
   */
  public ForwardPass forward(TokenBatch batch, ForwardPass.Wanted wanted) {
    return classifier.forward(batch, wanted);
  }

  @Override
  public int classCount() {
    return classifier.classCount();
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return classifier.parameterGroups();
  }

  @Override
  public void close() {
    head.close();
    backbone.close();
  }
}
