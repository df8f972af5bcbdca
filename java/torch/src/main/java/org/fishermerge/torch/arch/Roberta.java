package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.SettingsKeys;
import org.fishermerge.torch.nn.Activation;
import org.fishermerge.torch.nn.Counting;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerNorm;
import org.fishermerge.torch.nn.Linear;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.Sequential;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.nn.TokenEmbedding;
import org.fishermerge.torch.nn.Weights;
import org.fishermerge.torch.runtime.LibTorch;

/**
 * RoBERTa (Liu et al. 2019) as transformers' RobertaForSequenceClassification: BERT's blocks,
 * positions that count from the pad token's id + 1 and leave pad tokens out, and the first token
 * through dense, tanh and out_proj, all of which belong to the head.
 */
final class Roberta implements Architecture<TextClassifier> {
  private static final String TYPE = "roberta";

  static final SettingsKeys KEYS = EncoderConfig.keys("config.json of a RoBERTa");

  @Override
  public String modelType() {
    return TYPE;
  }

  @Override
  public SettingsKeys keys() {
    return KEYS;
  }

  @Override
  public void check(Path config) {
    EncoderConfig.read(config, TYPE, KEYS);
  }

  @Override
  public TextClassifier load(Checkpoint backbone, Checkpoint head) {
    EncoderConfig config = EncoderConfig.read(backbone, TYPE, KEYS);
    EncoderConfig ofHead = EncoderConfig.read(head, TYPE, KEYS);
    Counting counting = counting(config, backbone);
    return TextClassifier.of(
        config.inputs(
            ofHead.padToken(), Math.toIntExact(config.positions() - counting.first()), counting),
        Weights.load(
            backbone, LibTorch.productType(), "roberta.", w -> network(config, counting, w)),
        () ->
            ClassifierHead.read(
                head,
                "classifier.out_proj.weight",
                config.width(),
                ofHead.labels(),
                (weights, classes) ->
                    new Sequential(
                        Linear.read(weights, "classifier.dense", config.width(), config.width()),
                        Activation.TANH,
                        Linear.read(weights, "classifier.out_proj", classes, config.width()))),
        Stream.concat(config.warnings().stream(), ofHead.warnings().stream()).distinct().toList());
  }

  private static Counting counting(EncoderConfig config, Checkpoint backbone) {
    Counting counting =
        Counting.without(
            config
                .padToken()
                .orElseThrow(() ->
                    new InputException(
                        backbone.path()
                            + ": config.json has no pad_token_id, from which a RoBERTa counts its"
                            + " positions")));
    if (counting.first() >= config.positions()) {
      throw new InputException(
          "%s: key max_position_embeddings is %d; positions begin at pad_token_id + 1, %d"
              .formatted(
                  backbone.path().resolve("config.json"), config.positions(), counting.first()));
    }
    return counting;
  }

  private static Network<TokenBatch> network(
      EncoderConfig config, Counting counting, Weights weights) {
    List<Layer> layers = new ArrayList<>();
    TokenEmbedding embeddings = config.embeddings(weights, counting);
    layers.add(LayerNorm.read(weights, "embeddings.LayerNorm", config.width(), config.epsilon()));
    layers.addAll(config.blocks(weights));
    return new Network<>(weights, embeddings, new Sequential(layers));
  }
}
