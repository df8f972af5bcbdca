package org.fishermerge.torch.nn;

import static org.bytedeco.pytorch.global.torch.full;
import static org.bytedeco.pytorch.global.torch.softmax;
import static org.bytedeco.pytorch.global.torch.stack;
import static org.bytedeco.pytorch.global.torch.zeros;
import static org.fishermerge.torch.runtime.Reproducible.matmul;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;

/**
 * Multi-head self-attention, out(softmax(q k^T + mask) v).
 *
 * <p>Written out: on the CPU the backward pass of libtorch's fused attention calls OpenBLAS from
 * several threads at once, which wait for each other.
 *
 * @param qkv queries, keys and values, stacked in this order, as wide as the input each
 * @param queryScale what queries are multiplied by before they meet the keys
 * @param output the tokens that queries are made of
 */
public record Attention(int heads, double queryScale, Linear qkv, Linear out, OutputTokens output)
    implements Layer {
  /** The same layer with an output for every token. */
  Attention ofAllTokens() {
    return new Attention(heads, queryScale, qkv, out, OutputTokens.ALL);
  }

  @Override
  public Tensor forward(Tensor x, Tape tape) {
    qkv.showInput(x, tape);
    Tensor[] projected = project(x);
    Tensor query = projected[0]; // [B, H, S, D/H], S tokens of the output
    Tensor key = projected[1]; // [B, H, T, D/H]
    Tensor value = projected[2];
    Tensor scores = matmul(query, key.transpose(-2, -1)); // [B, H, S, T]
    Tensor mask = tape.attentionMask();
    if (mask != null) {
      scores.add_(mask.size(-2) == 1 ? mask : output.of(mask, mask.dim() - 2));
    }
    Tensor attention = softmax(scores, -1);
    tape.save(x, query, key, value, attention);
    return out.forward(mergeHeads(matmul(attention, value)), tape);
  }

  /** Scaled queries, keys and values, each [B, H, tokens, D/H]. */
  private Tensor[] project(Tensor x) {
    long width = x.size(2);
    if (output == OutputTokens.ALL) {
      Tensor all = perHead(qkv.apply(x, 1), 3);
      Tensor query = all.select(0, 0).mul_(new Scalar(queryScale));
      return new Tensor[] {query, all.select(0, 1), all.select(0, 2)};
    }
    Tensor query = splitHeads(qkv.apply(output.of(x, 1), queryScale, 0, width));
    Tensor keysAndValues = perHead(qkv.apply(x, 1, width, 2 * width), 2);
    return new Tensor[] {query, keysAndValues.select(0, 0), keysAndValues.select(0, 1)};
  }

  /** [B, T, n * D] to [n, B, H, T, D/H]. */
  private Tensor perHead(Tensor projected, int parts) {
    Tensor view =
        projected
            .view(
                projected.size(0),
                projected.size(1),
                parts,
                heads,
                projected.size(2) / parts / heads)
            .permute(2, 0, 3, 1, 4);
    // On a GPU each product would copy it.
    return view.is_cuda() ? view.contiguous() : view;
  }

  @Override
  public Tensor backward(Tensor cotangent, Tape tape, LayerVisitor visitor) {
    Tensor ofContext = splitHeads(out.backward(cotangent, tape, visitor)); // [V, B, H, S, D/H]
    Tensor[] saved = tape.read();
    Tensor x = saved[0];
    Tensor savedQuery = saved[1];
    Tensor savedKey = saved[2];
    Tensor savedValue = saved[3];
    Tensor attention = saved[4];
    Tensor value = matmul(attention.transpose(-2, -1), ofContext);
    // softmax: dS = P * (dP - rowsum(P * dP))
    Tensor scores = matmul(ofContext, savedValue.transpose(-2, -1)).mul_(attention);
    Tensor rowSums = scores.sum(new long[] {-1}, true, new ScalarTypeOptional());
    scores.addcmul_(attention, rowSums, new Scalar(-1.0));
    Tensor query = matmul(scores, savedKey).mul_(new Scalar(queryScale));
    Tensor key = matmul(scores.transpose(-2, -1), savedQuery);
    if (output == OutputTokens.ALL) {
      Tensor all = joinHeads(query, key, value);
      qkv.show(all, x, visitor);
      return qkv.inputCotangent(all, 0);
    }
    long width = x.size(2);
    Tensor keysAndValues = joinHeads(key, value);
    if (qkv.weight().group().parameters().size() == 1) {
      // One matrix makes all three: what it shows are whole rows of its output.
      Tensor all = zeros(like(keysAndValues, 3 * width), keysAndValues.options());
      all.narrow(3, width, 2 * width).copy_(keysAndValues);
      output.of(all.narrow(3, 0, width), 2).copy_(mergeHeads(query));
      qkv.show(all, x, visitor);
      return qkv.inputCotangent(all, 0);
    }
    qkv.show(keysAndValues, x, width, visitor);
    Tensor input = qkv.inputCotangent(keysAndValues, width);
    Tensor queries = mergeHeads(query);
    qkv.show(queries, output.of(x, 1), 0, visitor);
    output.of(input, 2).add_(qkv.inputCotangent(queries, 0));
    return input;
  }

  /** The shape of a tensor of four dimensions with another last one. */
  private static long[] like(Tensor tensor, long last) {
    return new long[] {tensor.size(0), tensor.size(1), tensor.size(2), last};
  }

  /** A token sees itself and those before it: a mask [T, T] for {@link Tape#attentionMask}. */
  public static Tensor causalMask(long tokens) {
    return full(new long[] {tokens, tokens}, new Scalar(Double.NEGATIVE_INFINITY)).triu_(1);
  }

  /** [..., T, D] to [..., H, T, D/H], as a view. */
  private Tensor splitHeads(Tensor x) {
    return x.unflatten(-1, heads, x.size(-1) / heads).transpose(-3, -2);
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
