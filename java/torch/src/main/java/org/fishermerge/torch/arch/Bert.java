package org.fishermerge.torch.arch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
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
 * BERT (Devlin et al. 2019) as transformers' BertForSequenceClassification: post-norm blocks, the
 * first token through the pooler (dense, tanh) and one linear layer.
 */
final class Bert implements Architecture<TextClassifier> {
  private static final String TYPE = "bert";
  private static final String CLASSIFIER = "classifier";

  static final SettingsKeys KEYS = EncoderConfig.keys("config.json of a BERT");

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
    return TextClassifier.of(
        config.inputs(ofHead.padToken(), config.positions(), Counting.ALL),
        Weights.load(backbone, LibTorch.productType(), "bert.", w -> network(config, w)),
        () ->
            ClassifierHead.read(
                head,
                CLASSIFIER + ".weight",
                config.width(),
                ofHead.labels(),
                (weights, classes) -> Linear.read(weights, CLASSIFIER, classes, config.width())),
        Stream.concat(config.warnings().stream(), ofHead.warnings().stream()).distinct().toList());
  }

  private static Network<TokenBatch> network(EncoderConfig config, Weights weights) {
    List<Layer> layers = new ArrayList<>();
    TokenEmbedding embeddings = config.embeddings(weights, Counting.ALL);
    layers.add(LayerNorm.read(weights, "embeddings.LayerNorm", config.width(), config.epsilon()));
    layers.addAll(config.blocks(weights));
    layers.add(Linear.read(weights, "pooler.dense", config.width(), config.width()));
    layers.add(Activation.TANH);
    return new Network<>(weights, embeddings, new Sequential(layers));
  }
}
