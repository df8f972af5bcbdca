package org.fishermerge.torch.nn;

import static org.bytedeco.pytorch.global.torch.zeros;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.OptionalLong;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.nn.Weights.Parameter;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * The sum of the rows of tables that a text's tokens, their positions and their types name.
 *
 * @param words [vocabulary, D]
 * @param fixedWord the row of words that training leaves as it is, as PyTorch's padding_idx: it has
 *     no gradient
 * @param positions [most tokens, D]
 * @param counting which rows of positions its tokens take
 * @param types [types, D]; null for models without
 * @param causal whether a token sees only itself and those before it
 */
public record TokenEmbedding(
    Parameter words,
    OptionalLong fixedWord,
    Parameter positions,
    Counting counting,
    @Nullable Parameter types,
    boolean causal)
    implements Stem<TokenBatch> {
  @Override
  public Tensor forward(TokenBatch batch, Tape tape) {
    Tensor ids = ids(batch.ids(), batch);
    Tensor places = ids(batch.positions(counting), batch);
    Tensor x = rows(words, ids).add_(rows(positions, places));
    if (types == null) {
      tape.save(ids, places);
    } else {
      Tensor kinds = ids(batch.typeIds(), batch);
      x.add_(rows(types, kinds));
      tape.save(ids, places, kinds);
    }
    tape.attentionMask(mask(batch));
    if (batch.filled()) {
      tape.realTokens(realTokens(batch));
    }
    return x;
  }

  private static Tensor ids(long[] values, TokenBatch batch) {
    return Tensors.copyOf(values, batch.examples(), batch.width());
  }

  /** Rows of a table [rows, D] by ids [B, T]: [B, T, D]. */
  private static Tensor rows(Parameter table, Tensor ids) {
    return table
        .tensor()
        .index_select(0, ids.view(-1))
        .view(ids.size(0), ids.size(1), table.tensor().size(1));
  }

  @Override
  public void backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor[] saved = tape.read();
    show(words, withoutRow(fixedWord, cotangent, saved[0]), saved[0], visitor);
    show(positions, withoutRow(counting.fixedRow(), cotangent, saved[1]), saved[1], visitor);
    if (types != null) {
      show(types, cotangent, saved[2], visitor);
    }
  }

  /**
   * A cotangent [V, B, T, D] with zeros for the tokens whose id [B, T] names a row that is fixed.
   */
  private static Tensor withoutRow(OptionalLong fixed, Tensor cotangent, Tensor ids) {
    if (fixed.isEmpty()) {
      return cotangent;
    }
    Scalar row = new Scalar(fixed.getAsLong());
    return ids.eq(row).any().item_bool() ? cotangent.mul(ids.ne(row).unsqueeze(-1)) : cotangent;
  }

  private static void show(Parameter table, Tensor cotangent, Tensor ids, LayerVisitor visitor) {
    visitor.visit(new LayerVisit.Embedding(table.group(), table.tensor().size(0), cotangent, ids));
  }

  private static Tensor realTokens(TokenBatch batch) {
    float[] real = new float[batch.examples() * batch.width()];
    for (int b = 0; b < batch.examples(); b++) {
      Arrays.fill(real, b * batch.width() + batch.first(b), b * batch.width() + batch.end(b), 1);
    }
    return Tensors.copyOf(real, batch.examples(), batch.width());
  }

  /**
   * What hides tokens from each other. Columns that are filled up see each other, for a softmax
   * over nothing is NaN.
   */
  private @Nullable Tensor mask(TokenBatch batch) {
    long width = batch.width();
    if (!causal && !batch.filled()) {
      return null;
    }
    if (!batch.filled()) {
      return LibTorch.onDevice(Attention.causalMask(width));
    }
    Tensor mask = zeros(new long[] {batch.examples(), 1, width, width});
    if (causal) {
      mask.add_(Attention.causalMask(width));
    }
    MemorySegment values = Tensors.segment(mask);
    for (int b = 0; b < batch.examples(); b++) {
      int first = batch.first(b);
      int end = batch.end(b);
      for (int t = first; t < end; t++) {
        long row = (b * width + t) * width;
        for (int s = 0; s < width; s++) {
          if (s < first || s >= end) {
            values.setAtIndex(ValueLayout.JAVA_FLOAT, row + s, Float.NEGATIVE_INFINITY);
          }
        }
      }
    }
    return LibTorch.onDevice(mask);
  }
}
