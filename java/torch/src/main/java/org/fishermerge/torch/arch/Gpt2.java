package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Attention;
import org.fishermerge.torch.nn.Counting;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Mlp;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.OutputTokens;
import org.fishermerge.torch.nn.Sequential;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.nn.TokenEmbedding;
import org.fishermerge.torch.nn.TransformerBlock;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * GPT-2 (Radford et al. 2019) with a linear head on the last token, as transformers'
 * GPT2ForSequenceClassification: the classes' logits are {@code score.weight} times the hidden
 * state of the right-most token that is not the pad token.
 */
final class Gpt2 implements Architecture<TextClassifier> {
  private static final String SCORE = "score.weight";

  @Override
  public String modelType() {
    return ModelConfig.GPT2;
  }

  @Override
  public SettingsKeys keys() {
    return Gpt2Config.KEYS;
  }

  @Override
  public void check(Path config) {
    Gpt2Config.of(config);
  }

  @Override
  public TextClassifier load(Checkpoint backbone, Checkpoint head) {
    Gpt2Config config = Gpt2Config.of(backbone);
    Gpt2Config ofHead = Gpt2Config.of(head);
    TextClassifier.Inputs inputs =
        new TextClassifier.Inputs(
            config.vocabulary(),
            config.positions(),
            Counting.ALL,
            "n_positions",
            1,
            ofHead.padToken(),
            TokenBatch.Alignment.END);
    return TextClassifier.of(
        inputs,
        Weights.load(backbone, LibTorch.productType(), weights -> network(config, weights)),
        () ->
            ClassifierHead.read(
                head,
                SCORE,
                config.width(),
                ofHead.labels(),
                (weights, classes) ->
                    new Linear(weights.matrix(SCORE, classes, config.width()), null, false)),
        Stream.concat(config.warnings().stream(), ofHead.warnings().stream()).distinct().toList());
  }

  private static Network<TokenBatch> network(Gpt2Config config, Weights weights) {
    long width = config.width();
    TokenEmbedding embeddings =
        new TokenEmbedding(
            weights.read("wte.weight", config.vocabulary(), width),
            OptionalLong.empty(),
            weights.read("wpe.weight", config.positions(), width),
            Counting.ALL,
            null,
            true);
    List<Layer> layers = new ArrayList<>();
    for (int i = 0; i < config.layers(); i++) {
      // Only the last token of the last block reaches the logits.
      OutputTokens output = i == config.layers() - 1 ? OutputTokens.LAST : OutputTokens.ALL;
      layers.add(block(weights, config, i, output));
    }
    layers.add(LayerNorm.read(weights, "ln_f", width, config.epsilon()));
    return new Network<>(weights, embeddings, new Sequential(layers));
  }

  /** Weights are stored [I, O]; one c_attn holds queries, keys and values. */
  private static Layer block(Weights weights, Gpt2Config config, int layer, OutputTokens output) {
    String name = "h." + layer;
    long width = config.width();
    LayerNorm norm1 = LayerNorm.read(weights, name + ".ln_1", width, config.epsilon());
    Attention attention =
        new Attention(
            config.heads(),
            config.queryScale(layer),
            Linear.readTransposed(weights, name + ".attn.c_attn", 3 * width, width),
            Linear.readTransposed(weights, name + ".attn.c_proj", width, width),
            output);
    LayerNorm norm2 = LayerNorm.read(weights, name + ".ln_2", width, config.epsilon());
    Mlp mlp =
        new Mlp(
            Linear.readTransposed(weights, name + ".mlp.c_fc", config.mlpWidth(), width),
            config.activation(),
            Linear.readTransposed(weights, name + ".mlp.c_proj", width, config.mlpWidth()));
    return TransformerBlock.preNorm(norm1, attention, norm2, mlp);
  }
}
