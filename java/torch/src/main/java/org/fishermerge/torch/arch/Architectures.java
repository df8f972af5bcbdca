package org.fishermerge.torch.arch;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.ModelConfig;
import org.fishermerge.checkpoint.SettingsKeys;

/** Every architecture, by the {@code model_type} of its config.json. A new one is a line here. */
public final class Architectures {
  private static final List<Architecture<TextClassifier>> TEXT =
      List.of(new Gpt2(), new Bert(), new Roberta());
  private static final List<Architecture<ImageClassifier>> IMAGE = List.of(new Vit());

  private Architectures() {}

  /** The architecture of a model folder, if it is one that classifies texts. */
  public static Optional<Architecture<TextClassifier>> text(Checkpoint checkpoint) {
    return text(modelType(checkpoint));
  }

  /** The architecture of that model type, if it is one that classifies texts. */
  public static Optional<Architecture<TextClassifier>> text(String type) {
    return TEXT.stream().filter(known -> known.modelType().equals(type)).findFirst();
  }

  /** The architecture of a model folder, if it classifies pictures with a head of its own. */
  public static Optional<Architecture<ImageClassifier>> image(Checkpoint checkpoint) {
    String type = modelType(checkpoint);
    return IMAGE.stream().filter(known -> known.modelType().equals(type)).findFirst();
  }

  /** The model types of all of them, for messages. */
  public static String modelTypes() {
    return Stream.concat(
            TEXT.stream().map(Architecture::modelType), IMAGE.stream().map(Architecture::modelType))
        .collect(Collectors.joining(", "));
  }

  private static String modelType(Checkpoint checkpoint) {
    return checkpoint.modelConfig().map(ModelConfig::modelType).orElse("");
  }

  /** The keys of config.json of every architecture that is known by its model type. */
  public static List<SettingsKeys> keys() {
    return Stream.concat(
            TEXT.stream().map(Architecture::keys), IMAGE.stream().map(Architecture::keys))
        .toList();
  }

  /**
   * What a classification model calls its classes, from id2label or label2id in its config.json;
   * empty if it does not say.
   */
  public static Optional<List<String>> classNames(Checkpoint model) {
    return model.modelConfig().flatMap(config -> JsonConfig.of(config).classNames());
  }
}
