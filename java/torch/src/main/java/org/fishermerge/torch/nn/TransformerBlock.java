package org.fishermerge.torch.nn;

/** The two ways in which attention and MLP make a block of a transformer. */
public final class TransformerBlock {
  private TransformerBlock() {}

  /** x += attention(norm1(x)); x += mlp(norm2(x)), as in GPT-2 and vision transformers. */
  public static Layer preNorm(LayerNorm norm1, Attention attention, LayerNorm norm2, Mlp mlp) {
    Layer block =
        new Sequential(
            new Residual(new Sequential(norm1, attention), attention.output()),
            new Residual(new Sequential(norm2, mlp)));
    return attention.output() == OutputTokens.ALL
        ? block
        : new LastBlock(
            block, preNorm(norm1, attention.ofAllTokens(), norm2, mlp), attention.output());
  }

  /** x = norm1(x + attention(x)); x = norm2(x + mlp(x)), as in BERT. */
  public static Layer postNorm(Attention attention, LayerNorm norm1, Mlp mlp, LayerNorm norm2) {
    Layer block =
        new Sequential(
            new Residual(attention, attention.output()), norm1, new Residual(mlp), norm2);
    return attention.output() == OutputTokens.ALL
        ? block
        : new LastBlock(
            block, postNorm(attention.ofAllTokens(), norm1, mlp, norm2), attention.output());
  }
}
