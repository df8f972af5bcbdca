package org.fishermerge.cli.program;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.NearestNames;
import org.fishermerge.cli.config.Section;
import org.fishermerge.cli.program.ModelPool.Family;

/**
 * What a model is measured on.
 *
 * @param family empty for the dummy, which measures nothing
 * @param base the CLIP model that gives heads; empty for other families
 * @param testData by task, in the order of the report
 * @param workers threads that decode pictures
 */
record TaskPool(
    Optional<Family> family,
    Optional<String> base,
    Map<String, DatasetId> testData,
    int batchSize,
    int workers) {
  static TaskPool of(Section section) {
    String target = section.target();
    TaskPool pool =
        switch (target) {
          case "CLIPVisionModelTaskPool" -> clip(section);
          case "GPT2TextClassificationTaskPool" -> gpt2(section);
          case "DummyTaskPool" -> {
            section.require("model_save_path", "merged_model_save_path saves", "null");
            yield new TaskPool(Optional.empty(), Optional.empty(), Map.of(), 1, 0);
          }
          default ->
              throw new InputException(
                  section.path("_target_")
                      + ": "
                      + target
                      + " is not supported"
                      + NearestNames.of(
                          target,
                          java.util.List.of(
                              "CLIPVisionModelTaskPool",
                              "GPT2TextClassificationTaskPool",
                              "DummyTaskPool")));
        };
    section.done();
    return pool;
  }

  private static TaskPool clip(Section section) {
    section.accept(
        "processor",
        "data_processor",
        "base_model",
        "layer_wise_feature_first_token_only",
        "layer_wise_feature_max_num");
    section.require("layer_wise_feature_save_path", "features are not saved", "null");
    section.require("fast_dev_run", "it is a key of the whole run", "true", "false");
    Section loader = section.requiredSection("dataloader_kwargs");
    return new TaskPool(
        Optional.of(Family.CLIP),
        Optional.of(ModelPool.id(section, "clip_model")),
        testData(section),
        batchSize(loader),
        workers(loader));
  }

  private static TaskPool gpt2(Section section) {
    section.accept("tokenizer", "_dataset_loader");
    section.require("fast_dev_run", "it is a key of the whole run", "true", "false");
    Section loader = section.requiredSection("dataloader_kwargs");
    return new TaskPool(
        Optional.of(Family.GPT2),
        Optional.empty(),
        testData(section),
        batchSize(loader),
        workers(loader));
  }

  private static Map<String, DatasetId> testData(Section section) {
    Map<String, DatasetId> data = new LinkedHashMap<>();
    Section datasets = section.requiredSection("test_datasets");
    datasets.keys().forEach(task -> data.put(task, DatasetId.of(datasets, task, "test")));
    if (data.isEmpty()) {
      throw new InputException("taskpool.test_datasets is empty; taskpool=dummy measures nothing");
    }
    return data;
  }

  private static int batchSize(Section loader) {
    loader.accept("pin_memory");
    loader.require("drop_last", "every example counts", "false");
    loader.require("shuffle", "the order of examples does not change a mean", "false");
    return Math.toIntExact(Math.min(Integer.MAX_VALUE, loader.requiredInteger("batch_size", 1)));
  }

  /** Threads beyond the cores would only wait; 0 is one per core. */
  static int workers(Section loader) {
    int cores = Runtime.getRuntime().availableProcessors();
    long asked = loader.integer("num_workers", 0).orElse(0L);
    loader.done();
    return asked == 0 ? cores : Math.toIntExact(Math.min(cores, asked));
  }
}
