package org.fishermerge.cli.program;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.Section;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.estimate.BadRows;
import org.fishermerge.torch.runtime.Precision;

/**
 * What a configuration says besides its method and pools.
 *
 * @param seed 0 where none is given
 * @param fastDevRun whether one batch of each task is enough
 * @param save the folder of the merged model; empty to keep none
 * @param report empty to write none besides the one in the log folder
 * @param log the folder of this run
 * @param cache what later runs use again
 * @param classNames a JSON file with prompts of further tasks
 * @param badRows what becomes of rows that cannot be used
 * @param matching how the classes of data and models are matched
 * @param allowDifferent keys of settings files that models may disagree on
 * @param device {@code cpu} or {@code cuda}; empty where it is left open
 * @param gpus how many, where models run on GPUs; empty for all
 * @param precision what models are multiplied in
 */
record RunSettings(
    long seed,
    boolean fastDevRun,
    boolean dryRun,
    boolean printConfig,
    Optional<Path> save,
    Optional<Path> report,
    Path log,
    Path cache,
    Optional<Path> classNames,
    BadRows badRows,
    Matching matching,
    List<String> allowDifferent,
    Optional<String> device,
    OptionalInt gpus,
    Precision precision) {
  private static final String LOG = "{log_dir}";

  /** As Lightning writes it. */
  private static final Set<String> ALL_GPUS = Set.of("auto", "-1");

  /** Reads all keys but the sections method, modelpool and taskpool. */
  static RunSettings of(Section root) {
    root.accept(
        "_target_", "_recursive_", "print_function_call", "method", "modelpool", "taskpool");
    root.require("merged_model_save_kwargs", "a model is saved in one way only", "null", "{}");
    Precision precision = precision(root);
    Fabric fabric = fabric(root);
    Section path = root.requiredSection("path");
    path.accept("root_dir", "output_dir", "data_dir", "work_dir");
    Path log = Path.of(path.requiredText("log_dir"));
    Path cache = Path.of(path.requiredText("cache_dir"));
    path.done();
    RunSettings settings =
        new RunSettings(
            root.integer("seed", Long.MIN_VALUE).orElse(0L),
            root.flag("fast_dev_run"),
            root.flag("dry_run"),
            root.flag("print_config"),
            root.textOrFalse("merged_model_save_path").map(text -> path(text, log)),
            root.textOrFalse("report_save_path").map(text -> path(text, log)),
            log,
            cache,
            root.text("class_names").map(Path::of),
            BadRows.parse(root.text("bad_rows").orElse(null), root.path("bad_rows")),
            Matching.parse(
                root.text("match_classes").orElse(Matching.AUTO.text()),
                root.path("match_classes")),
            root.texts("allow_different"),
            fabric.device,
            fabric.gpus,
            precision);
    root.done();
    return settings;
  }

  private static Path path(String text, Path log) {
    return Path.of(text.replace(LOG, log.toString()));
  }

  /** Lightning's names, and tf32, for which it has none. */
  private static Precision precision(Section root) {
    return switch (root.section("fabric").flatMap(fabric -> fabric.text("precision")).orElse("")) {
      case "tf32" -> Precision.TF32;
      case "bf16-mixed" -> Precision.BF16;
      default -> Precision.FP32;
    };
  }

  private record Fabric(Optional<String> device, OptionalInt gpus) {}

  /** Only what one process can do. */
  private static Fabric fabric(Section root) {
    Section fabric = root.section("fabric").orElse(null);
    if (fabric == null) {
      return new Fabric(Optional.empty(), OptionalInt.of(1));
    }
    fabric.accept("_target_", "_recursive_", "loggers");
    String one = "this version runs in one process, on the CPU or on GPUs";
    fabric.require("accelerator", one, "auto", "cpu", "cuda", "gpu");
    fabric.require("num_nodes", one, "1");
    fabric.require("strategy", one, "auto");
    fabric.require(
        "precision",
        "Fishers are summed in 32 bits",
        "null",
        "32",
        "32-true",
        "tf32",
        "bf16-mixed");
    Optional<String> device =
        fabric
            .text("accelerator")
            .filter(name -> !name.equals("auto"))
            .map(name -> name.equals("gpu") ? "cuda" : name);
    OptionalInt gpus =
        fabric.text("devices").filter(ALL_GPUS::contains).isPresent()
            ? OptionalInt.empty()
            : OptionalInt.of(
                Math.toIntExact(
                    Math.min(Integer.MAX_VALUE, fabric.integer("devices", 1).orElse(1L))));
    if (gpus.orElse(1) > 1 && !device.equals(Optional.of("cuda"))) {
      throw new InputException(
          fabric.path("devices")
              + " is "
              + gpus.getAsInt()
              + "; several devices are GPUs: give fabric.accelerator=cuda too");
    }
    fabric.done();
    return new Fabric(device, gpus);
  }

  /** Refuses a folder that cannot be a folder. */
  RunSettings {
    if (save.isPresent()) {
      requireOutside("report_save_path", report, save.get());
      requireOutside("path.log_dir", Optional.of(log), save.get());
      requireOutside("path.cache_dir", Optional.of(cache), save.get());
    }
  }

  private static void requireOutside(String key, Optional<Path> path, Path save) {
    Path replaced = save.toAbsolutePath().normalize();
    if (path.isPresent() && path.get().toAbsolutePath().normalize().startsWith(replaced)) {
      throw new InputException(
          key
              + " is "
              + path.get()
              + ", in the folder of merged_model_save_path, "
              + save
              + ", which is replaced whole; name a place outside of it");
    }
  }
}
