package org.fishermerge.cli.program;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.Section;

/**
 * The models to merge and the data that their Fishers are estimated on.
 *
 * @param pretrained the model that the others were fine-tuned from; no model to merge itself
 * @param models ids by task, in order
 * @param trainData by task, in order
 */
record ModelPool(
    Family family,
    Optional<String> pretrained,
    Map<String, String> models,
    Map<String, DatasetId> trainData) {
  private static final String PRETRAINED = "_pretrained_";
  private static final String MODEL_NAME = "pretrained_model_name_or_path";

  /** What kind of models they are. */
  enum Family {
    /** CLIP image towers. */
    CLIP("CLIPVisionModelPool"),
    /** GPT-2 text classifiers. */
    GPT2("HuggingFaceGPT2ClassificationPool");

    final String target;

    Family(String target) {
      this.target = target;
    }
  }

  static ModelPool of(Section section) {
    String target = section.target();
    Family family = null;
    for (Family candidate : Family.values()) {
      family = candidate.target.equals(target) ? candidate : family;
    }
    if (family == null) {
      throw new InputException(
          section.path("_target_")
              + ": "
              + target
              + " is not supported"
              + NearestNames.of(
                  target, java.util.Arrays.stream(Family.values()).map(f -> f.target).toList()));
    }
    section.accept(
        "processor",
        "tokenizer",
        "test_datasets",
        "base_model",
        "_model_loader",
        "_dataset_loader");
    section.require("platform", "models come from the Hugging Face hub or a folder", "hf");
    Section models = section.requiredSection("models");
    Optional<String> pretrained = Optional.empty();
    Map<String, String> regular = new LinkedHashMap<>();
    for (String name : models.keys()) {
      String id = id(models, name);
      if (name.equals(PRETRAINED)) {
        pretrained = Optional.of(id);
      } else if (models.regularKeys().contains(name)) {
        regular.put(name, id);
      }
    }
    Map<String, DatasetId> trainData = new LinkedHashMap<>();
    Section datasets = section.section("train_datasets").orElse(null);
    if (datasets != null) {
      datasets.keys().forEach(task -> trainData.put(task, DatasetId.of(datasets, task, "train")));
    }
    section.done();
    return new ModelPool(family, pretrained, regular, trainData);
  }

  /** A model's id, alone or in a call of {@code from_pretrained}. */
  static String id(Section parent, String key) {
    Section node = parent.sectionIfAny(key).orElse(null);
    if (node == null) {
      String id = parent.requiredText(key);
      return id.startsWith("hf://") ? id.substring("hf://".length()) : id;
    }
    node.accept("_target_", "_recursive_");
    String id = node.requiredText(MODEL_NAME);
    node.done();
    return id;
  }

  /** The pre-trained model's id, for a method that needs it. */
  String requirePretrained(String why) {
    return pretrained.orElseThrow(
        () -> new InputException("modelpool.models has no " + PRETRAINED + ", which " + why));
  }
}
