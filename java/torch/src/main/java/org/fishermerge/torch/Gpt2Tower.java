package org.fishermerge.torch;

import static org.bytedeco.pytorch.global.torch.zeros;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.torch.LayerParameters.Stacked;
import org.jspecify.annotations.Nullable;

/**
 * GPT-2's backbone on libtorch, from token ids to the last token's hidden state, with a backward
 * pass that accumulates Fisher information. Not thread-safe: a tower belongs to one thread at a
 * time.
 */
final class Gpt2Tower implements AutoCloseable {
  private final Gpt2Config config;
  private final LayerParameters parameters;
  private final Stacked tokenEmbedding;
  private final Stacked positionEmbedding;
  private final List<TransformerBlock> blocks = new ArrayList<>();
  private final LayerNorm finalNorm;

  private Gpt2Tower(Gpt2Config config, LayerParameters parameters) {
    this.config = config;
    this.parameters = parameters;
    long width = config.width();
    tokenEmbedding = parameters.read("wte.weight", config.vocabulary(), width);
    positionEmbedding = parameters.read("wpe.weight", config.positions(), width);
    for (int i = 0; i < config.layers(); i++) {
      // Only the last token of the last block reaches the logits.
      Long outputToken = i == config.layers() - 1 ? -1L : null;
      blocks.add(TransformerBlock.readGpt2(parameters, config, i, outputToken));
    }
    finalNorm = LayerNorm.read(parameters, "ln_f", width, config.epsilon());
  }

  /** Reads the backbone of a GPT2Model or GPT2ForSequenceClassification folder. */
  static Gpt2Tower load(Checkpoint checkpoint) {
    Gpt2Config config = Gpt2Config.of(checkpoint);
    LibTorch.initialize();
    LayerParameters parameters = new LayerParameters(checkpoint, LibTorch.productType());
    try {
      return new Gpt2Tower(config, parameters);
    } catch (RuntimeException | Error e) {
      parameters.close();
      throw e;
    }
  }

  Gpt2Config config() {
    return config;
  }

  List<ParameterGroup> parameterGroups() {
    return parameters.groups();
  }

  /** The saved activations of one forward pass. */
  static final class Tape implements AutoCloseable {
    private @Nullable Tensor ids; // int64 [B, T]
    private @Nullable Tensor positions; // int64 [B, T]
    private final List<TransformerBlock.Tape> blocks = new ArrayList<>();
    private LayerNorm.@Nullable Saved finalNorm; // of the last token, [B, 1, D]

    @Override
    public void close() {
      if (ids != null) {
        ids.close();
        ids = null;
      }
      if (positions != null) {
        positions.close();
        positions = null;
      }
      blocks.forEach(TransformerBlock.Tape::close);
      blocks.clear();
      if (finalNorm != null) {
        finalNorm.close();
        finalNorm = null;
      }
    }
  }

  /**
   * The last token's hidden state [B, D] of texts.
   *
   * @param batch ids within the vocabulary, no text longer than the model has positions
   * @param tape keeps what {@link #backward} needs; null for inference
   * @return a tensor that the caller closes
   */
  Tensor forward(TokenBatch batch, @Nullable Tape tape) {
    try (PointerScope scope = new PointerScope()) {
      Tensor ids = Tensors.copyOf(batch.ids(), batch.examples(), batch.width());
      Tensor positions = Tensors.copyOf(batch.positions(), batch.examples(), batch.width());
      Tensor x = rows(tokenEmbedding, ids).add_(rows(positionEmbedding, positions));
      Tensor mask = mask(batch);
      if (tape != null) {
        tape.close();
        tape.ids = Tensors.retain(ids);
        tape.positions = Tensors.retain(positions);
      }
      Tensor hidden = Tensors.retain(x);
      for (TransformerBlock block : blocks) {
        TransformerBlock.Tape blockTape = null;
        if (tape != null) {
          blockTape = new TransformerBlock.Tape();
          tape.blocks.add(blockTape);
        }
        Tensor next = block.forward(hidden, mask, blockTape);
        hidden.close();
        hidden = next;
      }
      LayerNorm.Output last = finalNorm.forward(hidden);
      if (tape != null) {
        tape.finalNorm = last.saved().retain();
      }
      Tensor result = Tensors.retain(last.value().squeeze(1));
      hidden.close();
      return result;
    }
  }

  /**
   * Accumulates the Fisher information of every parameter for V cotangents of each output, [V, B,
   * D].
   *
   * @param examples which examples of the forward pass these are, int64 [B]; null for all
   * @param last whether the tape may be freed on the way
   */
  void backward(
      Tensor cotangent,
      @Nullable Tensor examples,
      Tape tape,
      FisherAccumulator fisher,
      boolean last) {
    LayerNorm.Saved norm = tape.finalNorm;
    Tensor ids = tape.ids;
    Tensor positions = tape.positions;
    if (norm == null || ids == null || positions == null) {
      throw new IllegalStateException("backward without a forward pass");
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor g =
          Tensors.retain(finalNorm.backward(cotangent.unsqueeze(2), norm.of(examples), fisher));
      for (int i = blocks.size() - 1; i >= 0; i--) {
        Tensor previous = blocks.get(i).backward(g, examples, tape.blocks.get(i), fisher);
        g.close();
        g = previous;
        if (last) {
          tape.blocks.get(i).close();
        }
      }
      // A token that a text has twice is one row of the table: its cotangents add before squaring.
      fisher.embedding(
          tokenEmbedding.group(), config.vocabulary(), g, Tensors.entries(ids, examples));
      fisher.embedding(
          positionEmbedding.group(), config.positions(), g, Tensors.entries(positions, examples));
      g.close();
    }
  }

  /** Rows of a table [rows, D] by ids [B, T]: [B, T, D]. */
  private static Tensor rows(Stacked table, Tensor ids) {
    return table
        .tensor()
        .index_select(0, ids.view(-1))
        .view(ids.size(0), ids.size(1), table.tensor().size(1));
  }

  /**
   * A token sees itself and those of its text before it, [T, T] or [B, 1, T, T]. Columns before the
   * text see each other, for a softmax over nothing is NaN.
   */
  private static Tensor mask(TokenBatch batch) {
    long width = batch.width();
    Tensor causal = TransformerBlock.causalMask(width);
    if (!batch.filled()) {
      return LibTorch.onDevice(causal);
    }
    Tensor mask = zeros(new long[] {batch.examples(), 1, width, width}).add_(causal);
    MemorySegment values = Tensors.segment(mask);
    for (int b = 0; b < batch.examples(); b++) {
      int fill = batch.fill(b);
      for (int t = fill; t < width; t++) {
        long row = (b * width + t) * width;
        for (int s = 0; s < fill; s++) {
          values.setAtIndex(ValueLayout.JAVA_FLOAT, row + s, Float.NEGATIVE_INFINITY);
        }
      }
    }
    return LibTorch.onDevice(mask);
  }

  @Override
  public void close() {
    parameters.close();
  }
}
