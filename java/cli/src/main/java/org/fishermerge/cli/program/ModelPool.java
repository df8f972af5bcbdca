package org.fishermerge.cli.program;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.Section;
import org.fishermerge.data.hub.HubName;

/**
 * The models to merge and the data that their Fishers are estimated on.
 *
 * @param pretrained the model that the others were fine-tuned from; no model to merge itself
 * @param models ids by task, in order; {@code BASE+ADAPTER} where a LoRA adapter is applied
 * @param trainData by task, in order
 * @param factored tasks whose adapters FusionBench would not multiply out before it merges
 */
record ModelPool(
    Family family,
    Optional<String> pretrained,
    Map<String, String> models,
    Map<String, DatasetId> trainData,
    List<String> factored) {
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
    List<String> factored = new ArrayList<>();
    for (String name : models.keys()) {
      String id = id(models, name);
      if (name.equals(PRETRAINED)) {
        pretrained = Optional.of(id);
      } else if (models.regularKeys().contains(name)) {
        regular.put(name, id);
        if (isFactored(models, name)) {
          factored.add(name);
        }
      }
    }
    Map<String, DatasetId> trainData = new LinkedHashMap<>();
    Section datasets = section.section("train_datasets").orElse(null);
    if (datasets != null) {
      datasets.keys().forEach(task -> trainData.put(task, DatasetId.of(datasets, task, "train")));
    }
    section.done();
    return new ModelPool(family, pretrained, regular, trainData, List.copyOf(factored));
  }

  /** FusionBench's functions that load a base and an adapter, with their names of both. */
  private static final Map<String, List<String>> ADAPTER_LOADERS =
      Map.of(
          "load_lora_vision_model_hf", List.of("base_model_name", "peft_name"),
          "load_lora_model", List.of("base_model_path", "peft_model_path"),
          "load_peft_causal_lm", List.of("base_model_path", "peft_model_path"));

  private static final String MERGED = "merge_and_unload";

  /**
   * A model's id, alone or in a call of {@code from_pretrained}; {@code BASE+ADAPTER} in a call
   * that loads both.
   */
  static String id(Section parent, String key) {
    Section node = parent.sectionIfAny(key).orElse(null);
    if (node == null) {
      return withoutScheme(parent.requiredText(key));
    }
    node.accept("_recursive_");
    String loader = loader(node);
    List<String> names = ADAPTER_LOADERS.get(loader);
    String id;
    if (names != null) {
      id = node.requiredText(names.get(0)) + "+" + node.requiredText(names.get(1));
      node.flag(MERGED);
      node.accept("is_trainable", "return_vision_model");
      node.require("torch_dtype", "weights are read as they are stored", "float32");
    } else if (loader.equals("load_fft_vision_model_hf")) {
      id = node.requiredText("model_name");
      node.accept("return_vision_model");
    } else if (loader.equals("load_l_lora_vision_model_hf")) {
      throw new InputException(
          node.path("_target_")
              + ": linearised LoRA models ("
              + loader
              + ") are not supported; load_lora_vision_model_hf is");
    } else {
      id = node.requiredText(MODEL_NAME);
    }
    Optional<String> revision = node.text("revision");
    Optional<String> subfolder = node.text("subfolder");
    node.done();
    return HubName.write(withoutScheme(id), revision.orElse(null), subfolder.orElse(null));
  }

  private static String loader(Section node) {
    String target = node.text("_target_").orElse("");
    return target.substring(target.lastIndexOf('.') + 1);
  }

  private static String withoutScheme(String id) {
    return id.startsWith("hf://") ? id.substring("hf://".length()) : id;
  }

  /** An adapter that is loaded beside its base, in its two factors: the default of most loaders. */
  private static boolean isFactored(Section parent, String key) {
    return parent
        .sectionIfAny(key)
        .filter(node -> ADAPTER_LOADERS.containsKey(loader(node)))
        .filter(node ->
            node.isFalse(MERGED)
                || (!node.keys().contains(MERGED) && !loader(node).equals("load_lora_model")))
        .isPresent();
  }

  /** The pre-trained model's id, for a method that needs it. */
  String requirePretrained(String why) {
    return pretrained.orElseThrow(
        () -> new InputException("modelpool.models has no " + PRETRAINED + ", which " + why));
  }
}
