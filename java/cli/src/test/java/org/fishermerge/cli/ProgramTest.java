package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.cli.report.Browser;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** FusionBench's program on the tiny reference models, from configurations to reports. */
final class ProgramTest {
  private static final List<String> CLIP = List.of("alpha", "beta", "gamma");
  private static final List<String> GPT2 = List.of("cola", "mnli");
  private static final Path PRETRAINED = FewWords.pretrained();
  private static final TestTensors EXPECTED =
      TestTensors.read(Golden.path("clip-tiny/expected.safetensors"));

  @TempDir Path folder;

  /** A configuration folder of the user's, with pools of the tiny models. */
  @BeforeEach
  void writeConfigurations() throws IOException {
    StringBuilder models = new StringBuilder("  _pretrained_: " + PRETRAINED + "\n");
    StringBuilder data = new StringBuilder();
    for (String task : CLIP) {
      models.append("  %s: %s\n".formatted(task, Golden.path("clip-tiny/" + task)));
      Map<String, Tensor> tensors = new TreeMap<>();
      for (String name : List.of("pixel_values", "labels")) {
        tensors.put(name, EXPECTED.get(task + "." + name));
      }
      Path file = TestTensors.write(folder.resolve(task + ".safetensors"), tensors);
      data.append(
          "  %s:\n    _target_: datasets.load_dataset\n    path: %s\n".formatted(task, file));
    }
    write(
        "config/modelpool/tiny.yaml",
        "_target_: fusion_bench.modelpool.CLIPVisionModelPool\nmodels:\n%strain_datasets:\n%s"
            .formatted(models, data));
    write(
        "config/taskpool/tiny.yaml",
        """
        defaults:
          - CLIPVisionModelTaskPool@: _template
        base_model: %s
        test_datasets:
        %s\
        """
            .formatted(PRETRAINED, data));

    TestTensors expected = TestTensors.read(Golden.path("gpt2-tiny/expected.safetensors"));
    models = new StringBuilder("  _pretrained_: " + Golden.path("gpt2-tiny/pretrained") + "\n");
    data = new StringBuilder();
    for (String task : GPT2) {
      models.append("  %s: %s\n".formatted(task, Golden.path("gpt2-tiny/" + task)));
      Map<String, Tensor> tensors = new TreeMap<>();
      for (String name : List.of("input_ids", "attention_mask", "labels")) {
        tensors.put(name, expected.get(task + "." + name));
      }
      data.append(
          "  %s: %s\n"
              .formatted(task, TestTensors.write(folder.resolve(task + ".safetensors"), tensors)));
    }
    write(
        "config/modelpool/tiny_gpt2.yaml",
        "_target_: fusion_bench.modelpool.HuggingFaceGPT2ClassificationPool\nmodels:\n%strain_datasets:\n%s"
            .formatted(models, data));
    write(
        "config/taskpool/tiny_gpt2.yaml",
        """
        _target_: fusion_bench.taskpool.GPT2TextClassificationTaskPool
        dataloader_kwargs:
          batch_size: 4
        test_datasets:
        %s\
        """
            .formatted(data));
  }

  // ---- merged parameters ----

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "batch_square.normalize_true  | method.labels=batch-square method.batch_size=4",
        "batch_square.normalize_false | method.labels=batch-square method.batch_size=4"
            + " method.normalize_fisher_weight=false method.selection=first",
        "exact.normalize_true         | method.labels=exact",
        "exact.coefficients_5_3_2     | method.labels=exact method.coefficients=[0.5,0.3,0.2]",
        "exact.coefficients_5_3_2     | method.labels=exact method.coefficients=[5,3,2] seed=9",
      })
  void mergesToFusionBenchsFormula(String variant, String overrides) {
    List<String> line = new ArrayList<>(tiny("method=clip_fisher_merging"));
    line.addAll(List.of(overrides.split(" ")));
    line.add("taskpool=dummy");
    line.add("merged_model_save_path=" + folder.resolve("merged"));
    succeeds(line);
    // The gradient of a batch's sum may nearly cancel, and has few digits left then in fp32.
    double tolerance = variant.startsWith("batch_square") ? 2e-6 : 1e-6;
    assertClose(folder.resolve("merged"), goldenMerged("clip-tiny", variant), tolerance);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({"batch_square.normalize_true, batch-square", "exact.normalize_true, exact"})
  void mergesGpt2ToFusionBenchsFormula(String variant, String labels) throws IOException {
    succeeds(
        List.of(
            "--config-dir",
            folder.resolve("config").toString(),
            "method=gpt2_fisher_merging",
            "method.num_fisher_examples=5",
            "method.batch_size=4",
            "method.labels=" + labels,
            "method.selection=first",
            labels.equals("exact") ? "method.num_fisher_examples=6" : "seed=0",
            "modelpool=tiny_gpt2",
            "taskpool=tiny_gpt2",
            "print_config=false",
            "path.root_dir=" + folder,
            "merged_model_save_path=" + folder.resolve("merged"),
            "report_save_path=" + folder.resolve("report.json")));
    assertClose(folder.resolve("merged"), goldenMerged("gpt2-tiny", variant), 1e-6);
    // FusionBench's report of texts has no model_info.
    assertThat(json(folder.resolve("report.json")).fieldNames())
        .toIterable()
        .containsExactly("cola", "mnli", "average", "fisher_merge");
  }

  /** With the ratio that FusionBench has for a family, and with another. */
  @ParameterizedTest(name = "{0} {1}")
  @CsvSource({
    "clip-tiny, regmean_0.95, method=regmean/clip_regmean",
    "clip-tiny, regmean_0.6,  method=clip_regmean method.reduce_non_diagonal_ratio=0.6",
    "clip-tiny, kronecker,    method=clip_kronecker_fisher method.labels=exact",
    "gpt2-tiny, regmean_0.6,  method=regmean/gpt2_regmean",
    "gpt2-tiny, regmean_0.95, method=gpt2_regmean method.reduce_non_diagonal_ratio=0.95",
    "gpt2-tiny, kronecker,    method=gpt2_kronecker_fisher method.labels=exact",
  })
  void mergesLayersAsTheReferencesDo(String models, String variant, String overrides)
      throws IOException {
    List<String> line =
        with(
            models.equals("clip-tiny")
                ? tiny()
                : List.of(
                    "--config-dir",
                    folder.resolve("config").toString(),
                    "modelpool=tiny_gpt2",
                    "print_config=false",
                    "path.root_dir=" + folder),
            List.of(overrides.split(" ")),
            List.of("taskpool=dummy", "report_save_path=" + folder.resolve("report.json")),
            save("merged"));
    String first = succeeds(line).err();
    Map<String, Tensor> merged =
        TestTensors.renamed(
            TestTensors.read(folder.resolve("merged")).tensors(), ParameterNames::canonical);
    Map<String, Tensor> expected =
        TestTensors.renamed(
            TestTensors.read(Golden.path("statistics/" + models + ".merged.safetensors"))
                .under(variant + "."),
            ParameterNames::canonical);
    assertThat(expected).hasSizeGreaterThan(20);
    expected.forEach((name, wanted) ->
        TestTensors.assertClose(
            name,
            Objects.requireNonNull(merged.get(name), name),
            1,
            wanted,
            1e-4 * TestTensors.largest(wanted.floats())));

    // Statistics are kept as Fishers are, for all that only merging depends on.
    boolean regmean = variant.startsWith("regmean");
    String title = regmean ? ": Gram matrices" : ": Fisher information";
    Path kept = folder.resolve("outputs/cache").resolve(regmean ? "gram" : "fisher");
    Map<Path, FileTime> files = times(kept);
    assertThat(files).hasSize(models.equals("clip-tiny") ? 3 : 2);
    String change = regmean ? "method.reduce_non_diagonal_ratio=0.1" : "method.damping=0.1";
    String again = succeeds(with(line, List.of(change, "method.scaling_factor=0.5"))).err();
    for (String task : models.equals("clip-tiny") ? CLIP : GPT2) {
      assertThat(first).contains(task + title + " over 6 examples");
      assertThat(again).contains(task + title + " from ");
    }
    assertThat(times(kept)).isEqualTo(files);
    JsonNode own = json(folder.resolve("report.json")).path("fisher_merge");
    assertThat(own.path("scaling_factor").doubleValue()).isEqualTo(0.5);
    assertThat(own.path(regmean ? "reduce_non_diagonal_ratio" : "damping").doubleValue())
        .isEqualTo(0.1);
    assertThat(own.path(regmean ? "grams" : "fishers")).hasSize(files.size());
    assertThat(own.has("labels")).isEqualTo(!regmean);
    succeeds(with(line, List.of(regmean ? "method.num_regmean_examples=5" : "seed=1")));
    assertThat(times(kept)).hasSize(2 * files.size());
  }

  @Test
  void theRestOfAKroneckerMergeMayBeMergedByFisher() throws IOException {
    succeeds(
        with(
            tiny("method=clip_kronecker_fisher", "taskpool=dummy", "method.rest=fisher"),
            save("both")));
    try (Stream<Path> files = Files.list(folder.resolve("outputs/cache/fisher"))) {
      assertThat(files)
          .hasSize(3)
          .allSatisfy(file ->
              assertThat(TestTensors.read(file).metadata())
                  .containsEntry("fisher_statistics", "diagonal,kronecker"));
    }
  }

  /** What a run tries and writes is what {@code search} does with the same statistics and data. */
  @ParameterizedTest
  @CsvSource({
    "clip-tiny, clip_kronecker_fisher, kl",
    "clip-tiny, clip_fisher_merging, blend",
    "gpt2-tiny, gpt2_regmean method.reduce_non_diagonal_ratio=0.95, kl"
  })
  void aTunedRunIsASearch(String models, String method, String by) throws IOException {
    boolean pictures = models.equals("clip-tiny");
    List<String> line =
        with(
            pictures
                ? tiny()
                : List.of(
                    "--config-dir",
                    folder.resolve("config").toString(),
                    "modelpool=tiny_gpt2",
                    "print_config=false",
                    "path.root_dir=" + folder),
            List.of(("method=" + method).split(" ", -1)),
            // FusionBench's own configurations do not have the keys.
            List.of("++method.tune=" + by, "++method.tune_tries=4", "seed=3"),
            List.of("taskpool=dummy", "report_save_path=" + folder.resolve("report.json")),
            save("tuned"));
    CommandResult run = CommandResult.run(line);
    assertThat(run.code()).as(run.err()).isZero();
    JsonNode own = json(folder.resolve("report.json")).path("fisher_merge");
    JsonNode tuning = own.path("tuning");
    assertThat(tuning.path("tries")).hasSize(4);

    List<String> search = new ArrayList<>(List.of("search", "--by", by, "--tries", "4"));
    search.addAll(List.of("--seed", "3", "--report", folder.resolve("search.json").toString()));
    search.addAll(List.of("--out", folder.resolve("searched").toString()));
    if (pictures) {
      search.addAll(List.of("--clip", PRETRAINED.toString()));
    } else {
      search.addAll(List.of("--exclude", "score"));
    }
    Path base = pictures ? PRETRAINED : Golden.path(models + "/pretrained");
    search.addAll(List.of("--base", base.toString()));
    JsonNode statistics = own.path(method.contains("regmean") ? "grams" : "fishers");
    for (JsonNode statistic : statistics) {
      String task = statistic.path("task").textValue();
      search.addAll(List.of("--model", Golden.path(models + "/" + task).toString()));
      search.addAll(List.of("--fisher", statistic.path("file").textValue()));
      search.addAll(
          List.of(
              "--data",
              pictures
                  ? Golden.path("clip-tiny/expected.safetensors") + "#" + task + "."
                  : folder.resolve(task + ".safetensors").toString()));
      if (pictures) {
        search.addAll(
            List.of("--heads", Golden.path("clip-tiny/expected.safetensors") + "#" + task + "."));
      }
    }
    CommandResult found = CommandResult.run(search);
    assertThat(found.code()).as(found.err()).isZero();
    JsonNode searched = json(folder.resolve("search.json"));
    assertThat(tuning.path("written")).isEqualTo(searched.path("written"));
    for (int i = 0; i < 4; i++) {
      JsonNode one = tuning.path("tries").get(i);
      JsonNode other = searched.path("tries").get(i);
      assertThat(one.path("merge")).isEqualTo(other.path("merge"));
      assertThat(one.path("kl").doubleValue())
          .isCloseTo(other.path("kl").doubleValue(), within(2e-5));
    }
    assertClose(
        folder.resolve("tuned"), TestTensors.read(folder.resolve("searched")).tensors(), 1e-4);
    assertThat(folder.resolve("outputs/cache/search")).as("progress").isEmptyDirectory();
  }

  @Test
  void aTunedRunThatIsBrokenOffGoesOn() throws IOException {
    List<String> line =
        with(
            tiny("method=clip_fisher_merging", "++method.tune=kl", "++method.tune_tries=4"),
            List.of("taskpool=dummy"));
    succeeds(with(line, save("undisturbed")));
    List<String> again = with(line, save("disturbed"));
    CommandResult.breakOff(again, "    3  ");
    assertThat(folder.resolve("disturbed")).doesNotExist();
    assertThat(succeeds(again).err()).contains("going on after 3 measurements and 2 merges");
    assertThat(Files.mismatch(weights("disturbed"), weights("undisturbed"))).isEqualTo(-1);
  }

  @Test
  void averagesAndExtrapolates() {
    succeeds(with(tiny("method=simple_average"), save("average")));
    assertClose(folder.resolve("average"), goldenMerged("clip-tiny", "simple_average"), 1e-6);

    succeeds(with(tiny("method=task_arithmetic", "method.scaling_factor=0.7"), save("far")));
    TestTensors base = TestTensors.read(PRETRAINED);
    TestTensors average = TestTensors.read(folder.resolve("average"));
    Map<String, Tensor> wanted = new TreeMap<>();
    base.tensors()
        .forEach((name, tensor) -> {
          float[] theta = tensor.floats();
          float[] mean = average.get(name).floats();
          float[] moved = new float[theta.length];
          for (int j = 0; j < theta.length; j++) {
            // sum_i (theta_i - theta) = 3 (mean - theta)
            moved[j] = (float) (theta[j] + 0.7 * 3 * (mean[j] - (double) theta[j]));
          }
          wanted.put(name, Tensor.of(tensor.shape(), moved));
        });
    assertClose(folder.resolve("far"), wanted, 2e-6);
  }

  /** One vector for all parameters of a model, as FusionBench has it. */
  @ParameterizedTest
  @CsvSource({"20, sum, 0.5", "0.7, mean, 1.3", "100, mean, 1"})
  void trimsWholeModelsAsFusionBenchsTies(double threshold, String how, double s) {
    succeeds(
        with(
            tiny("method=ties_merging", "method.threshold=" + threshold),
            List.of("method.merge_func=" + how, "method.scaling_factor=" + s, "taskpool=dummy"),
            save("ties")));
    TestTensors base = TestTensors.read(PRETRAINED);
    List<Map<String, float[]>> vectors = new ArrayList<>();
    for (String task : CLIP) {
      Map<String, float[]> vector = new TreeMap<>();
      TestTensors.read(Golden.path("clip-tiny/" + task))
          .tensors()
          .forEach((name, tensor) -> {
            if (!tensor.dtype().equals("F32")) {
              return; // positions are no parameters
            }
            String whole = name.startsWith("vision_model.") ? name : "vision_model." + name;
            float[] from = base.get(whole).floats();
            float[] difference = tensor.floats().clone();
            for (int j = 0; j < difference.length; j++) {
              difference[j] -= from[j];
            }
            vector.put(whole, difference);
          });
      vectors.add(trimmed(vector, threshold > 1 ? threshold / 100 : threshold));
    }
    Map<String, Tensor> wanted = new TreeMap<>();
    for (String name : vectors.getFirst().keySet()) {
      float[] from = base.get(name).floats();
      float[] merged = new float[from.length];
      for (int j = 0; j < from.length; j++) {
        double sum = 0;
        for (Map<String, float[]> vector : vectors) {
          sum += value(vector, name, j);
        }
        double sign = Math.signum(sum);
        double counted = 0;
        int count = 0;
        for (Map<String, float[]> vector : vectors) {
          if (sign * value(vector, name, j) > 0) {
            counted += value(vector, name, j);
            count++;
          }
        }
        merged[j] = (float) (from[j] + s * counted / (how.equals("mean") ? Math.max(1, count) : 1));
      }
      wanted.put(name, Tensor.of(base.get(name).shape(), merged));
    }
    assertClose(folder.resolve("ties"), wanted, 1e-6);
  }

  private static float value(Map<String, float[]> vector, String name, int j) {
    return Objects.requireNonNull(vector.get(name))[j];
  }

  /** Without what is below the (d - int(share d))-th smallest magnitude of all d. */
  private static Map<String, float[]> trimmed(Map<String, float[]> vector, double share) {
    List<Float> all = new ArrayList<>();
    for (float[] values : vector.values()) {
      for (float value : values) {
        all.add(Math.abs(value));
      }
    }
    Collections.sort(all);
    int place = all.size() - (int) (share * all.size());
    float least = place == 0 ? 0 : all.get(place - 1);
    for (float[] values : vector.values()) {
      for (int j = 0; j < values.length; j++) {
        values[j] = Math.abs(values[j]) >= least ? values[j] : 0;
      }
    }
    return vector;
  }

  /** FusionBench's draws are torch's; ours are those of the command with the same settings. */
  @Test
  void dropsAndWeighsAsTheCommandsDo() throws IOException {
    List<String> models = new ArrayList<>(List.of("--base", PRETRAINED.toString()));
    CLIP.forEach(
        task -> models.addAll(List.of("--model", Golden.path("clip-tiny/" + task).toString())));
    String[][] pairs = {
      {
        "method=dare/task_arithmetic method.sparsity_ratio=0.4 seed=7",
        "dare --density 0.6 --rescale density --seed 7 --scaling-factor 0.3"
      },
      {
        "method=dare/simple_average method.rescale=false seed=7",
        "dare --density 0.5 --rescale none --seed 7 --coefficients"
            + " 0.3333333333333333,0.3333333333333333,0.3333333333333333"
      },
      {
        "method=linear/weighted_average method.weights=[1,2,4]",
        "linear --weights 1,2,4 --normalize true"
      },
      {
        "method=linear/weighted_average method.weights=[0.1,0.2,0.4] method.normalize=false",
        "linear --weights 0.1,0.2,0.4 --normalize false"
      },
      {"method=ties_merging", "ties --trim model --density 0.2 --normalize false --lambda 0.5"}
    };
    for (int i = 0; i < pairs.length; i++) {
      succeeds(with(tiny(pairs[i][0].split(" ", -1)), List.of("taskpool=dummy"), save("run" + i)));
      List<String> command = new ArrayList<>(List.of(pairs[i][1].split(" ", -1)));
      command.addAll(models);
      command.addAll(List.of("--out", folder.resolve("command" + i).toString()));
      CommandResult.run(command).succeeds();
      assertThat(Files.mismatch(weights("run" + i), weights("command" + i)))
          .as(pairs[i][0])
          .isEqualTo(-1);
    }
  }

  private Path weights(String model) {
    return folder.resolve(model).resolve("model.safetensors");
  }

  @Test
  void excludedParametersKeepThePretrainedValues() {
    succeeds(
        with(
            tiny("method=fisher_merging/clip_fisher_merging", "method.labels=argmax"),
            List.of(
                "taskpool=dummy",
                "method.exclude_param_names_regex=[\"vision_model.embeddings.*\",\".*bias\"]"),
            save("merged")));
    TestTensors merged = TestTensors.read(folder.resolve("merged"));
    TestTensors base = TestTensors.read(PRETRAINED);
    for (String kept :
        List.of("vision_model.embeddings.class_embedding", "vision_model.post_layernorm.bias")) {
      assertThat(merged.get(kept).bytes()).isEqualTo(base.get(kept).bytes());
    }
    String changed = "vision_model.encoder.layers.0.mlp.fc1.weight";
    assertThat(merged.get(changed).bytes()).isNotEqualTo(base.get(changed).bytes());
  }

  // ---- reports ----

  @Test
  void theReportHasFusionBenchsKeysAndTheNumbersOfEvaluate() throws IOException {
    CommandResult result =
        succeeds(
            with(
                tiny("method=clip_fisher_merging", "taskpool.dataloader_kwargs.batch_size=4"),
                save("merged"),
                List.of("path.log_dir=" + folder.resolve("log"))));
    JsonNode report = json(folder.resolve("log/program_report.json"));
    assertThat(report.fieldNames())
        .toIterable()
        .containsExactly("model_info", "alpha", "beta", "gamma", "average", "fisher_merge");
    assertThat(report.path("model_info").fieldNames())
        .toIterable()
        .containsExactly("trainable_params", "all_params", "trainable_percentage");
    long parameters =
        TestTensors.read(PRETRAINED).under("vision_model.").values().stream()
            .mapToLong(tensor -> tensor.shape().stream().reduce(1L, (a, b) -> a * b))
            .sum();
    assertThat(report.path("model_info").path("all_params").longValue()).isEqualTo(parameters);
    assertThat(report.path("model_info").path("trainable_params").longValue())
        .isEqualTo(parameters);
    assertThat(report.path("model_info").path("trainable_percentage").doubleValue()).isEqualTo(1);

    double accuracies = 0;
    double losses = 0;
    for (String task : CLIP) {
      Path alone = folder.resolve("alone-" + task + ".json");
      CommandResult.run(
              "evaluate",
              "--model",
              folder.resolve("merged").toString(),
              "--clip",
              PRETRAINED.toString(),
              "--classes",
              Golden.path("clip-tiny/tasks.json") + ":" + task,
              "--data",
              folder.resolve(task + ".safetensors").toString(),
              "--batch-size",
              "4",
              "--report",
              alone.toString())
          .succeeds();
      assertThat(report.path(task).fieldNames()).toIterable().containsExactly("accuracy", "loss");
      double accuracy = report.path(task).path("accuracy").doubleValue();
      assertThat(accuracy).isEqualTo((float) json(alone).path("accuracy").doubleValue());
      assertThat(report.path(task).path("loss").doubleValue())
          .isEqualTo((float) json(alone).path("loss").doubleValue());
      accuracies += accuracy;
      losses += report.path(task).path("loss").doubleValue();
    }
    assertThat(report.path("average").path("accuracy").doubleValue()).isEqualTo(accuracies / 3);
    assertThat(report.path("average").path("loss").doubleValue()).isEqualTo(losses / 3);

    JsonNode own = report.path("fisher_merge");
    assertThat(own.path("labels").textValue()).isEqualTo("adaptive:2");
    assertThat(own.path("selection").textValue()).isEqualTo("shuffled");
    assertThat(own.path("models").path("beta").path("sha256").textValue())
        .isEqualTo(hash(Golden.path("clip-tiny/beta")));
    assertThat(own.path("fishers")).hasSize(3);
    assertThat(own.path("fishers").path(1).path("examples").longValue()).isEqualTo(6);

    JsonNode gamma = own.path("accuracies").path("gamma");
    assertThat(gamma.path("correct").longValue()).isEqualTo(4);
    assertThat(gamma.path("examples").longValue()).isEqualTo(6);
    assertThat(gamma.path("accuracy_95")).hasSize(2);

    // The same in the log folder, with the configuration; the table on the terminal.
    assertThat(folder.resolve("log/report.json"))
        .hasSameTextualContentAs(folder.resolve("log/program_report.json"));
    assertThat(Files.readString(folder.resolve("log/config.yaml")))
        .contains("_target_: fusion_bench.method.FisherMergingForCLIPVisionModel");
    assertThat(result.out())
        .containsPattern("(?m)^task +accuracy, % +95 % interval +loss +examples$")
        .containsPattern("(?m)^gamma +66.67 +30.00 to 90.32 +[\\d.]+ +6$")
        .containsPattern("(?m)^average +[\\d.]+ +[\\d.]+ +18$")
        .contains(folder.resolve("merged").toString());
  }

  @Test
  void aSecondReportIsNumberedAndTheModelIsNotKeptUnasked() throws IOException {
    for (int i = 0; i < 2; i++) {
      succeeds(
          with(
              tiny("method=simple_average"),
              List.of("path.log_dir=" + folder.resolve("log"), "report_save_path=false")));
    }
    try (Stream<Path> files = Files.list(folder.resolve("log"))) {
      assertThat(files.map(file -> String.valueOf(file.getFileName())))
          .containsExactlyInAnyOrder(
              "config.yaml", "report.json", "report.html", "report_1.json", "report_1.html");
    }
  }

  /** Each run has a log folder of its own, so that only another run can tidy it. */
  @Test
  void whatAKilledRunLeftInItsLogFolderIsRemovedByTheNextRun() throws IOException {
    Path logs = folder.resolve("outputs");
    Path earlier = logs.resolve("2026-01-02_03-04-05");
    Path mine = logs.resolve("mine");
    for (Path log : List.of(earlier, mine)) {
      // As if by another machine, days ago: no process of this one can hold it.
      Path left = Files.createDirectories(log.resolve(".fisher-merge-1-1-abc-1"));
      Files.writeString(left.resolve("report.html"), "half a page");
      Files.setLastModifiedTime(left, FileTime.fromMillis(0));
    }
    succeeds(
        with(
            tiny("method=simple_average"),
            List.of(
                "path.log_dir=" + logs.resolve("2026-01-02_03-04-06"), "report_save_path=false")));
    assertThat(earlier).isEmptyDirectory();
    assertThat(mine).as("not a run's log folder").isNotEmptyDirectory();
  }

  /** What a browser makes of it: see {@link Browser#check}. */
  @Test
  void thePageOfARunShowsItsWholeReport() throws IOException {
    Assumptions.assumeTrue(Browser.isThere(), Browser.MISSING);
    succeeds(
        with(
            tiny("method=clip_fisher_merging"),
            save("merged"),
            List.of("path.log_dir=" + folder.resolve("log"))));
    Path page = folder.resolve("log/report.html");
    Browser browser = Browser.open();
    browser.check(page);
    browser.checkDark();
    browser.checkNumbers(page, folder.resolve("log/report.json"));
    JsonNode report = json(folder.resolve("log/report.json")).at("/fisher_merge/report");
    assertThat(report.path("models")).hasSize(4);
    assertThat(report.at("/accuracies/rows/0/measures")).hasSize(3);
    assertThat(report.at("/shares/0/cells")).isNotEmpty();
    assertThat(report.at("/similarity/overlap")).hasSize(3);
    assertThat(report.path("fishers").path("layers")).isNotEmpty();
    assertThat(report.path("stages").findValuesAsText("name")).contains("merge", "evaluation");
  }

  @Test
  void aQuietRunSaysWhatItFoundAndNothingElse() {
    List<String> line = with(tiny("method=simple_average"), save("merged"));
    line.add("--quiet");
    CommandResult result = CommandResult.run(line);
    assertThat(result.err()).isEmpty();
    assertThat(result.out()).containsPattern("(?m)^average +[\\d.]+ +[\\d.]+ +18$");
    line.add("method.unheard_of=1");
    assertThat(CommandResult.run(line).err()).startsWith("fisher-merge: ").contains("unheard_of");
  }

  @Test
  void onlyOneBatchInAFastDevRun() throws IOException {
    CommandResult result =
        succeeds(
            with(
                tiny("method=dummy", "fast_dev_run=true", "taskpool.batch_size=4"),
                List.of("save_report=" + folder.resolve("own.json"))));
    assertThat(result.out()).containsPattern("(?m)^average +[\\d.]+ +[\\d.]+ +12$");
    assertThat(result.err()).contains("note: taskpool.batch_size is now called");
    assertThat(json(folder.resolve("own.json")).path("alpha").path("accuracy").doubleValue())
        .isBetween(0.0, 1.0);
  }

  @Test
  void theDummyTaskPoolReportsTheModelAlone() throws IOException {
    succeeds(
        with(
            tiny("method=dummy"),
            List.of("taskpool=dummy", "report_save_path=" + folder.resolve("r.json"))));
    assertThat(json(folder.resolve("r.json")).fieldNames())
        .toIterable()
        .containsExactly("model_info", "fisher_merge");
  }

  // ---- what is kept ----

  @Test
  void aFisherIsEstimatedOnceForAllThatOnlyMergingDependsOn() throws IOException {
    List<String> line = tiny("method=clip_fisher_merging", "taskpool=dummy", "method.labels=exact");
    succeeds(with(line, save("one")));
    Map<Path, FileTime> kept = times(folder.resolve("outputs/cache/fisher"));
    assertThat(kept).hasSize(3);

    for (List<String> change :
        List.of(
            List.of("method.minimal_fisher_weight=1e-3"),
            List.of("method.coefficients=[1,2,3]"),
            List.of("method.normalize_fisher_weight=false"),
            List.of("method.dataloader_kwargs.batch_size=2"))) {
      String err = succeeds(with(line, change, save("two"))).err();
      for (String task : CLIP) {
        assertThat(err).contains(task + ": Fisher information from ");
      }
    }
    assertThat(times(folder.resolve("outputs/cache/fisher"))).isEqualTo(kept);

    for (List<String> change :
        List.of(
            List.of("method.labels=argmax"),
            List.of("method.num_fisher_examples=5"),
            List.of("seed=1"),
            List.of("method.selection=first"),
            List.of("method.labels=batch-square"),
            List.of("method.labels=batch-square", "method.batch_size=4"))) {
      assertThat(succeeds(with(line, change, save("two"))).err())
          .doesNotContain("Fisher information from ");
    }
    // Other data under the same name is other data.
    Files.copy(
        folder.resolve("beta.safetensors"),
        folder.resolve("alpha.safetensors"),
        java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    assertThat(succeeds(with(line, save("two"))).err())
        .doesNotContain("alpha: Fisher information from ")
        .contains("beta: Fisher information from ");

    Path own = folder.resolve("own");
    succeeds(with(line, List.of("method.fisher_cache=" + own), save("two")));
    assertThat(times(own)).hasSize(3);
    succeeds(with(line, List.of("method.fisher_cache=false"), save("two")));
  }

  /** As the models of a GPU are, though a CPU runs no faster for it. */
  @Test
  void modelsAtTheSameTimeGiveTheSameFishersAndReport() throws IOException {
    List<String> line =
        tiny("method=clip_fisher_merging", "taskpool=dummy", "method.labels=sampled:2");
    Path cache = folder.resolve("outputs/cache");
    succeeds(with(line, save("one")));
    Map<Path, byte[]> alone = contents(cache.resolve("fisher"));
    Files.move(cache, folder.resolve("outputs/other"));
    String err = succeeds(with(line, List.of("method.models_per_device=3"), save("three"))).err();
    Map<Path, byte[]> together = contents(cache.resolve("fisher"));
    assertThat(together.keySet()).hasSize(3).isEqualTo(alone.keySet());
    alone.forEach(
        (file, bytes) -> assertThat(together.get(file)).as(file.toString()).isEqualTo(bytes));
    assertThat(
            Files.mismatch(
                folder.resolve("one/model.safetensors"), folder.resolve("three/model.safetensors")))
        .isEqualTo(-1);
    for (String task : CLIP) {
      assertThat(err).containsOnlyOnce(task + ": Fisher information over ");
    }
  }

  private static Map<Path, byte[]> contents(Path folder) throws IOException {
    Map<Path, byte[]> contents = new TreeMap<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        contents.put(file, Files.readAllBytes(file));
      }
    }
    return contents;
  }

  @Test
  void headsAreKept() throws IOException {
    succeeds(tiny("method=dummy"));
    Map<Path, FileTime> heads = times(folder.resolve("outputs/cache/heads"));
    assertThat(heads).hasSize(3);
    succeeds(tiny("method=clip_fisher_merging", "method.labels=argmax"));
    assertThat(times(folder.resolve("outputs/cache/heads"))).isEqualTo(heads);
  }

  // ---- pictures in Parquet files ----

  @Test
  void picturesComeFromParquetFilesAsTheHubStoresThem() throws IOException, SQLException {
    Path hub = folder.resolve("hub");
    try (Connection duckdb = DriverManager.getConnection("jdbc:duckdb:");
        Statement sql = duckdb.createStatement()) {
      sql.execute("CREATE TABLE pictures (i BIGINT, bytes BLOB)");
      try (PreparedStatement insert =
          duckdb.prepareStatement("INSERT INTO pictures VALUES (?, ?)")) {
        for (int i = 0; i < 14; i++) {
          insert.setLong(1, i);
          insert.setBytes(2, picture(i));
          insert.addBatch();
        }
        insert.executeBatch();
      }
      for (String task : CLIP) {
        Path data = hub.resolve("me/" + task + "/cropped/data");
        Files.createDirectories(data);
        for (String split : List.of("train", "test")) {
          sql.execute(
              ("COPY (SELECT {'bytes': bytes, 'path': NULL} AS image, i %% 2 AS label FROM pictures"
                      + " ORDER BY i) TO '%s' (FORMAT parquet)")
                  .formatted(data.resolve(split + "-00000-of-00001.parquet")));
        }
      }
    }
    Files.createDirectories(hub.resolve("openai/tiny"));
    try (Stream<Path> files = Files.list(PRETRAINED)) {
      for (Path file : files.toList()) {
        String name = Objects.requireNonNull(file.getFileName()).toString();
        Files.copy(file, hub.resolve("openai/tiny").resolve(name));
      }
    }
    List<String> line = new ArrayList<>(tiny("method=clip_fisher_merging", "seed=3"));
    line.addAll(List.of("--hub-dir", hub.toString(), "modelpool.models._pretrained_=openai/tiny"));
    for (String task : CLIP) {
      for (String which : List.of("modelpool.train_datasets.", "taskpool.test_datasets.")) {
        line.add(
            "%s%s={_target_: datasets.load_dataset, _args_: [me/%s, cropped], split: %s}"
                .formatted("++" + which, task, task, which.startsWith("model") ? "train" : "test"));
        line.add("~" + which + task + ".path");
      }
    }
    line.addAll(save("merged"));
    line.add("report_save_path=" + folder.resolve("report.json"));
    succeeds(line);
    JsonNode report = json(folder.resolve("report.json"));
    assertThat(report.path("fisher_merge").path("fishers").path(0).path("data").textValue())
        .isEqualTo("me/alpha/cropped#train");
    assertThat(report.path("fisher_merge").path("fishers").path(0).path("examples").longValue())
        .isEqualTo(14);
    Path alone = folder.resolve("alone.json");
    CommandResult.run(
            "evaluate",
            "--model",
            folder.resolve("merged").toString(),
            "--clip",
            PRETRAINED.toString(),
            "--classes",
            Golden.path("clip-tiny/tasks.json") + ":alpha",
            "--data",
            hub.resolve("me/alpha/cropped") + "#test",
            "--report",
            alone.toString())
        .succeeds();
    assertThat(report.path("alpha").path("loss").doubleValue())
        .isEqualTo((float) json(alone).path("loss").doubleValue());
  }

  private static byte[] picture(int row) throws IOException {
    BufferedImage image = new BufferedImage(40, 35, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < 35; y++) {
      for (int x = 0; x < 40; x++) {
        image.setRGB(x, y, (x * 6 % 256) << 16 | (y * 7 % 256) << 8 | row * 17 % 256);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    return png.toByteArray();
  }

  // ---- what is refused, before any work ----

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "modelpool=clip-vit-large-patch14_TA8 taskpool=clip-vit-classification_TA8 method=dummy"
            + " | taskpool.clip_model is openai/clip-vit-base-patch32 ; is a clip-vit-large-patch14"
            + " ; give taskpool.base_model=openai/clip-vit-large-patch14",
        "method=clip_fisher_merging modelpool=clip-vit-base-patch32_TA8_model_only taskpool=dummy"
            + " | modelpool.train_datasets has no data for sun397 ; model_only",
        "method=clip_fisher_merging modelpool=gpt-2_glue taskpool=gpt-2_glue"
            + " | FisherMergingForCLIPVisionModel does not go with",
        "method=dummy modelpool=gpt-2_glue taskpool=clip-vit-classification_TA8"
            + " | the taskpool measures models of CLIP",
        "method=clip_fisher_merging method.labels=nothing | labels \"nothing\" is not",
        "method=clip_fisher_merging method.selection=last | method.selection is last ; first",
        "method=clip_fisher_merging method.num_fisher_examples=0"
            + " | method.num_fisher_examples is 0 ; at least 1",
        "method=clip_fisher_merging method.num_fisher_examples=many | a whole number",
        "method=clip_fisher_merging method.minimal_fisher_weight=-1 | must not be negative",
        "method=clip_fisher_merging method.normalize_fisher_weight=3 | expected true or false",
        "method=clip_fisher_merging method.coefficients=[1,2]"
            + " | method.coefficients has 2 values for 3 models",
        "method=clip_fisher_merging method.exclude_param_names_regex=['(']"
            + " | \"(\" is no regular expression",
        "method=clip_fisher_merging +method.extra=1"
            + " | method.extra: ; no such key ; the nearest names are",
        "method=clip_fisher_merging method.batch_size=0 | method.dataloader_kwargs.batch_size is 0",
        "fabric.accelerator=tpu     | fabric.accelerator is tpu ; only auto, cpu, cuda, gpu are accepted",
        "fabric.devices=2 | fabric.devices is 2; several devices are GPUs: give fabric.accelerator=cuda too",
        "fabric.precision=tf32 | precision tf32 is of GPUs ; fabric.accelerator=cuda",
        "fabric.precision=bf16-true | fabric.precision is bf16-true ; 32-true",
        "taskpool.dataloader_kwargs.drop_last=true | only false is accepted",
        "+modelpool.models.delta=x method=simple_average | model x ; is not in the cache",
        "modelpool.models.alpha=x method=simple_average | model x ; HF_HUB_OFFLINE is set",
        "taskpool.test_datasets.alpha.path=x   | data set x ; is not in the cache",
        "+taskpool.test_datasets.delta=x | the task delta has no class names ; \"dtd\"",
        "+taskpool.test_datasets.alpha.split='test[9]' | expected the name of a split or a part of one",
        "++taskpool.test_datasets.alpha._target_=my.data | data is not supported ; load_dataset",
        "fabric.devices=0 | fabric.devices ; at least 1",
        "method=clip_fisher_merging method.models_per_device=0 | method.models_per_device ; at least 1",
        "method=clip_regmean method.reduce_non_diagonal_ratio=1.5"
            + " | method.reduce_non_diagonal_ratio is 1.5 ; from 0 to 1",
        "method=clip_regmean method.weight_transpose=false"
            + " | method.weight_transpose is false ; only true is accepted",
        "method=gpt2_regmean modelpool=gpt-2_glue taskpool=gpt-2_glue method.weight_transpose=true"
            + " | method.weight_transpose is true ; only false is accepted",
        "method=clip_regmean method.num_regmean_examples=0 | method.num_regmean_examples is 0",
        "method=clip_regmean +method.labels=exact | method.labels: ; no such key",
        "method=gpt2_regmean | RegMeanAlgorithmForGPT2 does not go with",
        "method=clip_kronecker_fisher method.labels=batch-square | method.labels=batch-square",
        "method=clip_kronecker_fisher method.damping=-1 | method.damping is -1.0",
        "method=clip_kronecker_fisher method.rest=sum | method.rest is sum ; average or fisher",
        "method=clip_kronecker_fisher method.tune=labels | method.tune is labels; expected kl or blend",
        "method=clip_regmean method.tune=kl method.scaling_factor=2 | method.scaling_factor is 2.0 ;"
            + " leave it at 1",
        "method=clip_regmean method.tune=kl method.tune_tries=0 | method.tune_tries is 0",
        "method=ties_merging method.threshold=0 | method.threshold is 0.0 ; above 0",
        "method=ties_merging method.threshold=120 | method.threshold is 120.0 ; in per cent",
        "method=ties_merging method.merge_func=max | method.merge_func is max; sum and mean",
        "method=ties_merging method.remove_keys=[a] | method.remove_keys ; only [] is accepted",
        "method=ties_merging +method.density=1 | method.density: ; no such key",
        "method=dare/task_arithmetic method.sparsity_ratio=1 | method.sparsity_ratio is 1.0",
        "method=dare/simple_average method.only_on_linear_weights=true"
            + " | method.only_on_linear_weights is true ; only false is accepted",
        "method=linear/weighted_average | method.weights has 2 values for 3 models",
        "class_names=/no/such.json  | /no/such.json: no such file",
        "method._target_=x.RegMean  | RegMean is not supported ; the nearest names are",
        "merged_model_save_kwargs={a: 1} | merged_model_save_kwargs is",
        "seed=x                     | seed is x ; a whole number",
        "-m seed=1                  | sweeps are not supported",
        "--cfg hydra                | --cfg hydra: expected job",
        "--config-name nothing      | nothing: no such configuration",
      })
  void aMistakeIsFoundBeforeTheWork(String overrides, String fragments) throws IOException {
    List<String> line = new ArrayList<>(tiny("path.log_dir=" + folder.resolve("log")));
    // A value may have spaces after a colon.
    Pattern.compile(" (?![^{]*\\})").splitAsStream(overrides.strip()).forEach(line::add);
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isEqualTo(1);
    assertThat(errors(result)).hasSize(1);
    for (String fragment : fragments.strip().split(" ; ", -1)) {
      assertThat(result.err()).contains(fragment.strip());
    }
    assertThat(folder.resolve("log")).doesNotExist();
    assertThat(folder.resolve("outputs")).doesNotExist();
  }

  @Test
  void towersOfOtherShapesAreFoundBeforeTheWork() throws IOException {
    Path other = Files.createDirectory(folder.resolve("other"));
    try (Stream<Path> files = Files.list(PRETRAINED)) {
      for (Path file : files.toList()) {
        Files.copy(file, other.resolve(Objects.requireNonNull(file.getFileName()).toString()));
      }
    }
    Path config = other.resolve("config.json");
    String text = Files.readString(config);
    String changed = text.replaceAll("\"patch_size\": \\d+", "\"patch_size\": 16");
    assertThat(changed).isNotEqualTo(text);
    Files.writeString(config, changed);
    CommandResult result =
        CommandResult.run(tiny("method=clip_fisher_merging", "taskpool.clip_model=" + other));
    assertThat(result.code()).isEqualTo(1);
    assertThat(result.err()).contains("do not belong together").contains("patch_size is 8 and 16");
    assertThat(folder.resolve("outputs")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource({"report_save_path, file", "merged_model_save_path, file", "path.log_dir, file"})
  void aPlaceThatCannotBeWrittenIsFoundBeforeTheWork(String key, String name) throws IOException {
    Files.writeString(folder.resolve(name), "in the way");
    CommandResult result =
        CommandResult.run(
            tiny("method=clip_fisher_merging", key + "=" + folder.resolve(name).resolve("below")));
    assertThat(result.code()).isEqualTo(1);
    assertThat(result.err()).contains("is a file, not a folder");
    assertThat(folder.resolve("outputs")).doesNotExist();
  }

  @Test
  void anInputIsNotOverwritten() {
    CommandResult result =
        CommandResult.run(tiny("method=simple_average", "merged_model_save_path=" + PRETRAINED));
    assertThat(result.code()).isEqualTo(1);
    assertThat(result.err()).contains("must lie apart from the input");
  }

  // ---- configurations alone ----

  @Test
  void aDryRunPrintsTheConfigurationAndDoesNothing() {
    CommandResult result =
        CommandResult.run(
                "dry_run=true",
                "method=gpt2_fisher_merging",
                "method.num_fisher_examples=512",
                "method.batch_size=8",
                "modelpool=gpt-2_glue",
                "taskpool=gpt-2_glue",
                "path.root_dir=" + folder)
            .succeeds();
    assertThat(result.out())
        .contains("pretrained_model_name_or_path: tanganke/gpt2_cola", "num_fisher_examples: 512");
    assertThat(folder.resolve("outputs")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "method=fisher_merging/clip_fisher_merging"
            + " modelpool=CLIPVisionModelPool/clip-vit-base-patch32_TA8"
            + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8",
        "method=fisher_merging/clip_fisher_merging method.batch_size=8 method.num_workers=4"
            + " modelpool=CLIPVisionModelPool/clip-vit-large-patch14_TA8"
            + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8"
            + " taskpool.clip_model=openai/clip-vit-large-patch14",
        "method=gpt2_fisher_merging method.num_fisher_examples=512 method.batch_size=8"
            + " modelpool=gpt-2_glue taskpool=gpt-2_glue",
        "method=clip_fisher_merging modelpool=clip-vit-base-patch32_TA8"
            + " taskpool=clip-vit-classification_TA8",
        "method=clip_fisher_merging method.dataloader_kwargs.batch_size=8"
            + " modelpool=CLIPVisionModelPool/clip-vit-large-patch14_TA8"
            + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8_L14",
        "method=regmean/clip_regmean modelpool=CLIPVisionModelPool/clip-vit-base-patch32_TA8"
            + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8"
            + " method.num_regmean_examples=1600 method.dataloader_kwargs.batch_size=16",
        "method=gpt2_regmean method.batch_size=8 modelpool=gpt-2_glue taskpool=gpt-2_glue",
        "method=simple_average modelpool=CLIPVisionModelPool/clip-vit-base-patch16_TA8_model_only"
            + " taskpool=CLIPVisionModelTaskPool/clip-vit-classification_TA8_B16",
        "method=task_arithmetic method.scaling_factor=0.5 taskpool=clip-vit-classification_TA8",
        "method=dummy modelpool=CLIPVisionModelPool/clip-vit-large-patch14_individual"
            + " modelpool.models._pretrained_=tanganke/clip-vit-large-patch14_dtd"
            + " taskpool=clip-vit-classification_TA8_L14",
      })
  void fusionBenchsCommandsAreUnderstood(String line) {
    List<String> args = new ArrayList<>(List.of(line.strip().split(" ")));
    args.add("dry_run=true");
    CommandResult result = CommandResult.run(args);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(errors(result)).isEmpty();
    // With no hub they end at the first model, not in the configuration.
    args.removeLast();
    args.addAll(List.of("print_config=false", "path.root_dir=" + folder));
    CommandResult run = CommandResult.run(args);
    assertThat(run.code()).isEqualTo(1);
    assertThat(errors(run)).singleElement().asString().contains("is not in the cache");
    assertThat(folder.resolve("outputs")).doesNotExist();
  }

  @Test
  void cfgPrintsWhatARunWouldDo() {
    assertThat(CommandResult.run("--cfg", "job", "--package", "method").succeeds().out())
        .isEqualTo("# @package method\n_target_: fusion_bench.method.DummyAlgorithm\n");
    assertThat(
            CommandResult.run(
                    "run", "method=task_arithmetic", "-c", "job", "-p", "path", "--resolve")
                .succeeds()
                .out())
        .contains("output_dir: ./outputs\n")
        .containsPattern("log_dir: ./outputs/fabric_model_fusion/\\d{4}-\\d\\d-\\d\\d_\\d\\d-");
    assertThat(CommandResult.run("run", "--help").succeeds().out())
        .contains("--cfg", "--config-dir", "OVERRIDE");
    CommandResult.run("--cfg", "job", "-p", "nothing").fails(1, "--package nothing");
  }

  @Test
  void columnsAndBadRowsOfADataSetAreSettings() throws Exception {
    Path data = folder.resolve("alpha-test.parquet");
    Path pictures = Cases.copy("case-16", folder).resolve("lz4.parquet");
    try (Connection duckdb = DriverManager.getConnection("jdbc:duckdb:");
        Statement sql = duckdb.createStatement()) {
      sql.execute(
          ("COPY (SELECT if(i = 2, 'no picture'::BLOB, image.bytes) AS img, label AS y FROM (SELECT"
                  + " *, row_number() OVER () - 1 AS i FROM '%s')) TO '%s' (FORMAT parquet)")
              .formatted(pictures, data));
    }
    String columns = "columns: {image: img, label: y}";
    String entry =
        "{_target_: datasets.load_dataset, path: %s, split: train, %s}".formatted(data, columns);
    List<String> line =
        with(
            tiny("method=simple_average"),
            List.of(
                "~taskpool.test_datasets.beta",
                "~taskpool.test_datasets.gamma",
                "++taskpool.test_datasets.alpha=" + entry,
                "report_save_path=" + folder.resolve("report.json")));
    CommandResult result = succeeds(line);
    assertThat(result.err()).contains("warning: left out", "row 2: cannot read the picture");
    JsonNode measured = json(folder.resolve("report.json")).path("fisher_merge");
    JsonNode alpha = measured.path("accuracies").path("alpha");
    assertThat(alpha.path("examples").intValue()).isEqualTo(5);
    assertThat(alpha.path("skipped").path("count").intValue()).isOne();
    assertThat(alpha.path("skipped").path("rows").path(0).path("where").textValue())
        .endsWith("alpha-test.parquet, row 2");
    CommandResult stopped = CommandResult.run(with(line, List.of("bad_rows=stop")));
    assertThat(stopped.code()).isOne();
    assertThat(errors(stopped)).singleElement().asString().contains("row 2", "--bad-rows skip");
    CommandResult wrong =
        CommandResult.run(with(line, List.of("bad_rows=maybe", "match_classes=none")));
    assertThat(errors(wrong)).singleElement().asString().contains("bad_rows maybe", "skip:N");
  }

  // ---- what the tests share ----

  private List<String> tiny(String... overrides) {
    List<String> line =
        new ArrayList<>(
            List.of(
                "--config-dir",
                folder.resolve("config").toString(),
                "modelpool=tiny",
                "taskpool=tiny",
                "print_config=false",
                "class_names=" + Golden.path("clip-tiny/tasks.json"),
                "path.root_dir=" + folder));
    List<String> given = List.of(overrides);
    line.addAll(given);
    return line;
  }

  private List<String> save(String name) {
    return List.of("merged_model_save_path=" + folder.resolve(name));
  }

  private static CommandResult succeeds(List<String> line) {
    CommandResult result = CommandResult.run(line);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(errors(result)).isEmpty();
    return result;
  }

  private static List<String> errors(CommandResult result) {
    return result.err().lines().filter(line -> line.startsWith("fisher-merge: ")).toList();
  }

  private static Map<String, Tensor> goldenMerged(String models, String variant) {
    return TestTensors.read(Golden.path(models + "/expected_merged.safetensors"))
        .under(variant + ".");
  }

  private static void assertClose(Path merged, Map<String, Tensor> expected, double tolerance) {
    TestTensors written = TestTensors.read(merged);
    assertThat(expected).hasSizeGreaterThan(20);
    expected.forEach((name, wanted) ->
        TestTensors.assertClose(
            name, written.get(name), 1, wanted, tolerance * TestTensors.largest(wanted.floats())));
  }

  private static String hash(Path model) {
    return CommandResult.run("inspect", "--hash", model.toString())
        .succeeds()
        .out()
        .lines()
        .filter(line -> line.contains("sha256 "))
        .map(line -> line.substring(line.indexOf("sha256 ") + 7).strip())
        .collect(Collectors.joining());
  }

  private static Map<Path, FileTime> times(Path files) throws IOException {
    try (Stream<Path> all = Files.list(files)) {
      Map<Path, FileTime> times = new TreeMap<>();
      for (Path file : all.toList()) {
        times.put(file, Files.getLastModifiedTime(file));
      }
      return times;
    }
  }

  private static JsonNode json(Path file) throws IOException {
    return new JsonMapper().readTree(file.toFile());
  }

  @SafeVarargs
  private static List<String> with(List<String>... parts) {
    List<String> all = new ArrayList<>();
    for (List<String> part : parts) {
      all.addAll(part);
    }
    return all;
  }

  private void write(String path, String text) throws IOException {
    Path file = folder.resolve(path);
    Files.createDirectories(Objects.requireNonNull(file.getParent()));
    Files.writeString(file, text);
  }
}
