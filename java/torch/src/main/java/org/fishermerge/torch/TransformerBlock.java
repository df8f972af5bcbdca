package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.full;
import static org.bytedeco.pytorch.global.torch.softmax;
import static org.bytedeco.pytorch.global.torch.stack;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.jspecify.annotations.Nullable;

/**
 * A pre-norm transformer block: x += out(attention(qkv(norm1(x)))), x += mlp(norm2(x)).
 *
 * <p>Backward is written out instead of recorded by autograd, because the Fisher pass wants other
 * things than training: no weight gradients, the cotangents of V probes pushed through one saved
 * forward pass together, each layer's (input, cotangent) pair handed to a kernel and dropped at
 * once, and only the rows that reach the loss. Where only one token of the output is used (a class
 * token, the last token of a text), the block computes keys and values for all tokens and
 * everything else for that one.
 *
 * @param queryScale what queries are multiplied by before they meet the keys
 * @param qkv queries, keys and values, stacked in this order
 * @param outputToken the token that is used further on, counted from the end if negative, or null
 *     for all
 */
record TransformerBlock(
    int heads,
    double queryScale,
    Activation activation,
    LayerNorm norm1,
    Linear qkv,
    Linear out,
    LayerNorm norm2,
    Linear mlpIn,
    Linear mlpOut,
    @Nullable Long outputToken) {

  /** What one block's backward pass needs. B examples, T tokens in, S tokens out, H heads. */
  private record Saved(
      LayerNorm.Saved norm1,
      Tensor attentionInput, // [B, T, D]
      Tensor query, // [B, H, S, D/H], scaled
      Tensor key, // [B, H, T, D/H]
      Tensor value, // [B, H, T, D/H]
      Tensor attention, // [B, H, S, T]
      Tensor context, // [B, S, D]
      LayerNorm.Saved norm2,
      Tensor mlpInput, // [B, S, D]
      Tensor preActivation, // [B, S, M], times the activation's input scale
      Tensor activated) // [B, S, M]
      implements AutoCloseable {

    private Tensor[] tensors() {
      return new Tensor[] {
        attentionInput, query, key, value, attention, context, mlpInput, preActivation, activated
      };
    }

    Saved retain() {
      norm1.retain();
      norm2.retain();
      for (Tensor tensor : tensors()) {
        Tensors.retain(tensor);
      }
      return this;
    }

    /** What was saved of some examples; in the caller's scope. */
    Saved of(@Nullable Tensor examples) {
      return examples == null
          ? this
          : new Saved(
              norm1.of(examples),
              Tensors.entries(attentionInput, examples),
              Tensors.entries(query, examples),
              Tensors.entries(key, examples),
              Tensors.entries(value, examples),
              Tensors.entries(attention, examples),
              Tensors.entries(context, examples),
              norm2.of(examples),
              Tensors.entries(mlpInput, examples),
              Tensors.entries(preActivation, examples),
              Tensors.entries(activated, examples));
    }

    @Override
    public void close() {
      norm1.close();
      norm2.close();
      for (Tensor tensor : tensors()) {
        tensor.close();
      }
    }
  }

  /** The saved activations of a forward pass through one block. */
  static final class Tape implements AutoCloseable {
    private @Nullable Saved saved;

    private Saved saved() {
      if (saved == null) {
        throw new IllegalStateException("backward without a forward pass");
      }
      return saved;
    }

    @Override
    public void close() {
      if (saved != null) {
        saved.close();
        saved = null;
      }
    }
  }

  /** CLIP's parameter names. */
  static TransformerBlock readClip(
      LayerParameters parameters, String name, ClipConfig.Tower tower, @Nullable Long outputToken) {
    long width = tower.width();
    return new TransformerBlock(
        tower.heads(),
        1 / Math.sqrt((double) width / tower.heads()),
        tower.activation(),
        LayerNorm.read(parameters, name + ".layer_norm1", width, tower.epsilon()),
        Linear.stack(
            parameters,
            width,
            width,
            name + ".self_attn.q_proj",
            name + ".self_attn.k_proj",
            name + ".self_attn.v_proj"),
        Linear.read(parameters, name + ".self_attn.out_proj", width, width),
        LayerNorm.read(parameters, name + ".layer_norm2", width, tower.epsilon()),
        Linear.read(parameters, name + ".mlp.fc1", tower.mlpWidth(), width),
        Linear.read(parameters, name + ".mlp.fc2", width, tower.mlpWidth()),
        outputToken);
  }

  /** GPT-2's parameter names and layout: one c_attn, weights stored [I, O]. */
  static TransformerBlock readGpt2(
      LayerParameters parameters, Gpt2Config config, int layer, @Nullable Long outputToken) {
    String name = "h." + layer;
    long width = config.width();
    return new TransformerBlock(
        config.heads(),
        config.queryScale(layer),
        config.activation(),
        LayerNorm.read(parameters, name + ".ln_1", width, config.epsilon()),
        Linear.readTransposed(parameters, name + ".attn.c_attn", 3 * width, width),
        Linear.readTransposed(parameters, name + ".attn.c_proj", width, width),
        LayerNorm.read(parameters, name + ".ln_2", width, config.epsilon()),
        Linear.readTransposed(parameters, name + ".mlp.c_fc", config.mlpWidth(), width),
        Linear.readTransposed(parameters, name + ".mlp.c_proj", width, config.mlpWidth()),
        outputToken);
  }

  /**
   * [B, T, D] to [B, S, D]. The caller closes the result; {@code tape}, if given, keeps what {@link
   * #backward} needs.
   *
   * @param mask what is added to the attention scores of token t towards token s, 0 or -infinity,
   *     broadcast to [B, H, T, T]; null where every token sees all
   */
  Tensor forward(Tensor x, @Nullable Tensor mask, @Nullable Tape tape) {
    try (PointerScope scope = new PointerScope()) {
      long width = x.size(2);
      LayerNorm.Output normed = norm1.forward(x);
      Tensor h = normed.value();
      Tensor[] qkvHeads = project(h, width);
      Tensor query = qkvHeads[0];
      Tensor key = qkvHeads[1];
      Tensor value = qkvHeads[2];
      Tensor scores = query.matmul(key.transpose(-2, -1));
      if (mask != null) {
        scores.add_(outputRows(mask, mask.dim() - 2));
      }
      Tensor attention = softmax(scores, -1);
      Tensor context = mergeHeads(attention.matmul(value));
      Tensor middle = out.forward(context, 1).add_(outputRows(x, 1));

      LayerNorm.Output normed2 = norm2.forward(middle);
      Tensor preActivation = mlpIn.forward(normed2.value(), activation.inputScale);
      Tensor activated = activation.forward(preActivation);
      Tensor y = mlpOut.forward(activated, 1).add_(middle);
      if (tape != null) {
        tape.close();
        tape.saved =
            new Saved(
                    normed.saved(),
                    h,
                    query,
                    key,
                    value,
                    attention,
                    context,
                    normed2.saved(),
                    normed2.value(),
                    preActivation,
                    activated)
                .retain();
      }
      return Tensors.retain(y);
    }
  }

  /** Scaled queries, keys and values, each [B, H, tokens, D/H] and contiguous. */
  private Tensor[] project(Tensor h, long width) {
    if (outputToken == null) {
      Tensor all =
          qkv.forward(h, 1)
              .view(h.size(0), h.size(1), 3, heads, width / heads)
              .permute(2, 0, 3, 1, 4)
              .contiguous();
      Tensor query = all.select(0, 0).mul_(new Scalar(queryScale));
      return new Tensor[] {query, all.select(0, 1), all.select(0, 2)};
    }
    Tensor query = splitHeads(qkv.forward(outputRows(h, 1), queryScale, 0, width));
    Tensor keysAndValues =
        qkv.forward(h, 1, width, 2 * width)
            .view(h.size(0), h.size(1), 2, heads, width / heads)
            .permute(2, 0, 3, 1, 4)
            .contiguous();
    return new Tensor[] {query, keysAndValues.select(0, 0), keysAndValues.select(0, 1)};
  }

  /**
   * The cotangent of the block's input, [V, B, T, D], from that of its output, [V, B, S, D]; taps
   * every layer on the way. The caller closes the result and its argument.
   *
   * @param examples which examples of the forward pass these are, int64 [B]; null for all
   */
  Tensor backward(
      Tensor cotangent, @Nullable Tensor examples, Tape tape, FisherAccumulator fisher) {
    try (PointerScope scope = new PointerScope()) {
      Saved saved = tape.saved().of(examples);
      Tensor activatedCotangent = mlpOut.backward(cotangent, saved.activated, fisher);
      Tensor mlpCotangent = activation.backward(activatedCotangent, saved.preActivation);
      activatedCotangent.close();
      Tensor normed2Cotangent = mlpIn.backward(mlpCotangent, saved.mlpInput, fisher);
      mlpCotangent.close();
      Tensor middle = norm2.backward(normed2Cotangent, saved.norm2, fisher).add_(cotangent);
      Tensor contextCotangent = out.backward(middle, saved.context, fisher);
      Tensor normed1Cotangent = attentionBackward(contextCotangent, saved, fisher);
      Tensor x = norm1.backward(normed1Cotangent, saved.norm1, fisher);
      outputRows(x, 2).add_(middle);
      return Tensors.retain(x);
    }
  }

  /** From the cotangent of the context [V, B, S, D] to that of the attention input [V, B, T, D]. */
  private Tensor attentionBackward(Tensor cotangent, Saved saved, FisherAccumulator fisher) {
    long width = cotangent.size(3);
    Tensor context = splitHeads(cotangent); // [V, B, H, S, D/H]
    Tensor value = saved.attention.transpose(-2, -1).matmul(context);
    // softmax: dS = P * (dP - rowsum(P * dP))
    Tensor scores = context.matmul(saved.value.transpose(-2, -1)).mul_(saved.attention);
    Tensor rowSums = scores.sum(new long[] {-1}, true, new ScalarTypeOptional());
    scores.addcmul_(saved.attention, rowSums, new Scalar(-1.0));
    Tensor query = scores.matmul(saved.key).mul_(new Scalar(queryScale));
    Tensor key = scores.transpose(-2, -1).matmul(saved.query);
    if (outputToken == null) {
      Tensor all = joinHeads(query, key, value);
      return qkv.backward(all, saved.attentionInput, fisher);
    }
    Tensor keysAndValues = joinHeads(key, value);
    Tensor input = qkv.backward(keysAndValues, saved.attentionInput, fisher, width);
    Tensor queryInput =
        qkv.backward(mergeHeads(query), outputRows(saved.attentionInput, 1), fisher, 0);
    outputRows(input, 2).add_(queryInput);
    return input;
  }

  /** For {@link #forward}: a token sees itself and those before it, [T, T]. */
  static Tensor causalMask(long tokens) {
    return full(new long[] {tokens, tokens}, new Scalar(Double.NEGATIVE_INFINITY)).triu_(1);
  }

  /** A view of the rows that are used further on. */
  private Tensor outputRows(Tensor x, long tokenDimension) {
    return outputToken == null ? x : x.narrow(tokenDimension, outputToken, 1);
  }

  /** [..., T, D] to [..., H, T, D/H], as a view. */
  private Tensor splitHeads(Tensor x) {
    long width = x.size(-1);
    return x.unflatten(-1, heads, width / heads).transpose(-3, -2);
  }

  /** [..., H, T, D/H] to [..., T, D]. */
  private static Tensor mergeHeads(Tensor x) {
    return x.transpose(-3, -2).flatten(-2, -1);
  }

  /** Per-head tensors [V, B, H, T, D/H] laid side by side along the features: [V, B, T, n*D]. */
  private static Tensor joinHeads(Tensor... parts) {
    TensorVector views = new TensorVector();
    for (Tensor part : parts) {
      views.push_back(part.transpose(-3, -2));
    }
    return stack(views, 3).flatten(3, 5);
  }
}
