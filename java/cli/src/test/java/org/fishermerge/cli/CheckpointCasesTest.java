package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a checkpoint on disk is: tied weights, wrappers, quantised weights, links, adapters. */
final class CheckpointCasesTest {
  private static final Path TIED = Path.of("src/test/resources/tied");
  private static final String COMMIT = "1111111111111111111111111111111111111111";

  @TempDir Path folder;

  private CommandResult average(Path base, Path... models) {
    List<String> args = new ArrayList<>();
    args.addAll(List.of("average", "--base", base.toString(), "--overwrite"));
    args.addAll(List.of("--out", folder.resolve("out").toString()));
    for (Path model : models) {
      args.addAll(List.of("--model", model.toString()));
    }
    return CommandResult.run(args);
  }

  private TestTensors out() {
    return TestTensors.read(folder.resolve("out"));
  }

  @Test
  void case01TiedWeightsStayTied() {
    Path models = Cases.copy("case-01", folder);
    Path base = models.resolve("base");
    Path one = models.resolve("one");
    Path two = models.resolve("two");
    average(base, one, two).succeeds();
    assertThat(out().get("lm_head.weight").bytes())
        .isEqualTo(out().get("transformer.wte.weight").bytes());
    float[] first = TestTensors.read(one).get("transformer.wte.weight").floats();
    float[] second = TestTensors.read(two).get("transformer.wte.weight").floats();
    float[] mean = out().get("lm_head.weight").floats();
    for (int i = 0; i < mean.length; i++) {
      assertThat(mean[i]).isEqualTo((float) (((double) first[i] + second[i]) / 2));
    }
    average(base, one).succeeds();
    assertThat(out().get("lm_head.weight").bytes())
        .isEqualTo(TestTensors.read(one).get("transformer.wte.weight").bytes());
    assertThat(
            CommandResult.run(
                    "task-arithmetic",
                    "--base",
                    base.toString(),
                    "--model",
                    one.toString(),
                    "--model",
                    two.toString(),
                    "--overwrite",
                    "--out",
                    folder.resolve("out").toString())
                .succeeds()
                .out())
        .contains("17 tensors merged from 2 models and the base, 0 tensors from the base");
    assertThat(out().get("lm_head.weight").bytes())
        .isEqualTo(out().get("transformer.wte.weight").bytes());
  }

  /** Against transformers' average of tied models; see testkit/oracles/tied_merge.py. */
  @ParameterizedTest
  @CsvSource({
    "gpt2, lm_head.weight transformer.wte.weight",
    "bert, cls.predictions.decoder.weight bert.embeddings.word_embeddings.weight"
        + " cls.predictions.bias cls.predictions.decoder.bias",
    "t5, lm_head.weight shared.weight encoder.embed_tokens.weight decoder.embed_tokens.weight"
  })
  void tiedModelsAverageAsInTransformers(String family, String tied) throws IOException {
    TestTensors vectors = TestTensors.read(TIED.resolve(family + ".safetensors"));
    for (String name : List.of("base", "one", "two")) {
      Path path = Files.createDirectories(folder.resolve(family).resolve(name));
      TestTensors.write(path.resolve("model.safetensors"), vectors.under(name + "."));
      Files.copy(TIED.resolve(family + ".json"), path.resolve("config.json"));
    }
    Path models = folder.resolve(family);
    average(models.resolve("base"), models.resolve("one"), models.resolve("two")).succeeds();
    Map<String, TestTensors.Tensor> expected = vectors.under("mean.");
    assertThat(out().tensors().keySet()).isEqualTo(expected.keySet());
    expected.forEach((name, mean) -> TestTensors.assertClose(name, out().get(name), 1, mean, 1e-7));
    List<String> names = List.of(tied.split(" "));
    assertThat(out().get(names.get(0)).bytes()).isEqualTo(out().get(names.get(1)).bytes());

    // A base as save_pretrained writes it: the same values, under its names alone.
    average(models.resolve("two"), models.resolve("base"), models.resolve("one")).succeeds();
    assertThat(out().tensors().keySet()).isEqualTo(vectors.under("two.").keySet());
  }

  @Test
  void case04QuantisedModelsAreRefused() {
    Path models = Cases.copy("case-04", folder);
    average(models.resolve("alpha"), models.resolve("alpha"), models.resolve("beta"))
        .fails(1, "alpha", "quantised", "bitsandbytes", "dequantize()");
    assertThat(folder.resolve("out")).doesNotExist();
    CommandResult inspected = CommandResult.run("inspect", models.resolve("alpha").toString());
    assertThat(inspected.code()).isZero();
    assertThat(inspected.out()).contains("quantised");
  }

  @ParameterizedTest
  @ValueSource(strings = {"ddp", "compiled"})
  void case12WrappersAreTakenOff(String wrapped) {
    Path models = Cases.copy("case-12", folder);
    CommandResult result =
        average(models.resolve("base"), models.resolve(wrapped), models.resolve("beta"));
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err().lines()).hasSize(1);
    assertThat(result.err()).startsWith("warning: ").contains(wrapped, "taken off");
    assertThat(result.out()).contains("39 tensors merged from 2 models, 0 tensors from the base");
    String prefix = wrapped.equals("ddp") ? "module." : "_orig_mod.";
    float[] one =
        TestTensors.read(models.resolve(wrapped)).get(prefix + "post_layernorm.weight").floats();
    float[] two =
        TestTensors.read(models.resolve("beta")).get("vision_model.post_layernorm.weight").floats();
    float[] mean = out().get("post_layernorm.weight").floats();
    for (int i = 0; i < mean.length; i++) {
      assertThat(mean[i]).isEqualTo((float) (((double) one[i] + two[i]) / 2));
    }
  }

  /** Prefixes in every combination give what the plain model gives; as the base too. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "module._orig_mod.",
        "_orig_mod.module.",
        "_fsdp_wrapped_module.",
        "base_model.model.",
        "_forward_module.module.",
        "model.",
        "network.model."
      })
  void namesUnderAnyWrapperAreTheModels(String prefix) {
    Path models = Cases.copy("case-12", folder);
    Path base = models.resolve("base");
    Path beta = models.resolve("beta");
    average(base, beta).succeeds();
    Map<String, TestTensors.Tensor> plain = out().tensors();
    Path wrapped = folder.resolve("wrapped");
    write(wrapped, TestTensors.renamed(plain, name -> prefix + name));
    CommandResult result = average(base, wrapped);
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(result.err()).contains("warning: ", prefix.substring(prefix.indexOf('.') + 1));
    plain.forEach(
        (name, tensor) -> assertThat(out().get(name).bytes()).as(name).isEqualTo(tensor.bytes()));
  }

  @Test
  void aWrappedBaseGivesPlainNames() {
    Path models = Cases.copy("case-12", folder);
    CommandResult result = average(models.resolve("ddp"), models.resolve("beta"));
    assertThat(result.code()).as(result.err()).isZero();
    assertThat(out().tensors().keySet()).noneMatch(name -> name.startsWith("module."));
  }

  private static void write(Path path, Map<String, TestTensors.Tensor> tensors) {
    try {
      Files.createDirectories(path);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    TestTensors.write(path.resolve("model.safetensors"), tensors);
  }

  @Test
  void case14LinksOfTheUsersOwnAreFollowed() throws IOException {
    Path models = Cases.copy("case-14", folder);
    Path linked = models.resolve("linked/model.safetensors");
    Files.deleteIfExists(linked);
    Files.createSymbolicLink(linked, Path.of("../store/beta.safetensors"));
    average(models.resolve("base"), models.resolve("linked")).succeeds();

    Path model = models.resolve("hub/models--org--beta");
    Path blobs = models.resolve("otherdisk/blobs");
    Path snapshot = model.resolve("snapshots").resolve(COMMIT);
    Files.deleteIfExists(model.resolve("blobs"));
    Files.createSymbolicLink(model.resolve("blobs"), Path.of("../../otherdisk/blobs"));
    Path weights = snapshot.resolve("model.safetensors");
    Files.deleteIfExists(weights);
    String blob;
    try (var names = Files.list(blobs)) {
      blob = names.findFirst().orElseThrow().getFileName().toString();
    }
    Files.createSymbolicLink(weights, Path.of("../../blobs/" + blob));
    average(models.resolve("base"), snapshot).succeeds();

    Files.delete(weights);
    Files.createSymbolicLink(weights, models.resolve("store/beta.safetensors"));
    average(models.resolve("base"), snapshot).fails(1, "model.safetensors", "leads out");
  }

  /** Every kind of quantised weights, told by names and dtypes. */
  @ParameterizedTest
  @CsvSource({
    "a.weight, U8, a.quant_map, 4 bit",
    "a.qweight, I32, a.g_idx, GPTQ",
    "a.qweight, I32, a.qzeros, AWQ",
    "a.weight, F8_E4M3, a.weight_scale, floating point",
    "a.weight_packed, I32, a.weight_shape, compressed-tensors",
    "a.weight, U32, a.biases, MLX",
    "a.weight._data, I8, a.weight._scale, quanto",
    "a.weight_qdata, I8, a.weight_scale, torchao",
    "a.weight, I8, a.bias, integers",
    "experts.down_proj_blocks, U8, experts.down_proj_scales, MXFP4"
  })
  void quantisedWeightsAreNamed(String weight, String dtype, String beside, String said) {
    int bytes = dtype.endsWith("32") ? 4 : 1;
    Map<String, TestTensors.Tensor> tensors = new TreeMap<>();
    tensors.put(weight, new TestTensors.Tensor(dtype, List.of(4L), new byte[4 * bytes]));
    boolean codes = beside.endsWith("g_idx") || beside.endsWith("qzeros");
    tensors.put(beside, new TestTensors.Tensor(codes ? "I32" : "F32", List.of(2L), new byte[8]));
    Path model = folder.resolve("quantised");
    write(model, tensors);
    average(model, model).fails(1, model.toString(), "quantised", said);
  }

  @ParameterizedTest
  @CsvSource({
    "base_model.model.h.0.attn.c_attn.lora_A.weight, adapter, BASE+ADAPTER",
    "lora_unet_down_blocks_0.lora_down.weight, adapter, convert the adapter",
    "state.0.exp_avg, optimizer, beside",
    "module._flat_param, FSDP, whole"
  })
  void filesThatAreNoWeightsAreNamed(String tensor, String what, String advice) {
    Path file = folder.resolve("other.safetensors");
    TestTensors.write(file, Map.of(tensor, TestTensors.Tensor.of(List.of(2L), 1, 2)));
    Path model = Cases.copy("case-12", folder).resolve("base");
    average(model, file).fails(1, file.toString(), what, advice);
  }

  @Test
  void namesOfAnotherProgramAreRecognised() {
    Path model = Cases.copy("case-12", folder).resolve("base");
    Path other = folder.resolve("other");
    write(
        other,
        Map.of(
            "visual.conv1.weight", TestTensors.Tensor.of(List.of(2L), 1, 2),
            "visual.class_embedding", TestTensors.Tensor.of(List.of(2L), 1, 2)));
    average(model, other).fails(1, "open_clip", "visual.conv1.weight", "convert");
  }

  /** Folders without model.safetensors: the files in them, and what the message says. */
  @ParameterizedTest
  @CsvSource({
    "adapter_config.json adapter_model.safetensors, LORA adapters",
    "model_index.json unet/config.json, diffusers",
    "modules.json 0_Transformer/model.safetensors, /0_Transformer",
    "checkpoint-500/x checkpoint-1500/x trainer_state.json, /checkpoint-1500 (the last)",
    "global_step12/x latest zero_to_fp32.py, DeepSpeed",
    "__0_0.distcp .metadata, FSDP",
    "model-q4.gguf config.json, GGUF",
    "flax_model.msgpack, Flax",
    "tf_model.h5, TensorFlow",
    "model.onnx, ONNX",
    "consolidated.00.pth params.json, Meta",
    "model_00001.safetensors model_00002.safetensors, without model.safetensors.index.json",
    "model.fp16.safetensors config.json, /model.fp16.safetensors",
    "weights.safetensors, /weights.safetensors",
    "optimizer.pt scheduler.pt training_args.bin, state of a training",
    "pytorch_model.bin optimizer.pt, pytorch_model.bin",
    "deep/model.safetensors, /deep"
  })
  void foldersThatAreNoModelAreNamed(String files, String said) throws IOException {
    Path model = folder.resolve("given");
    for (String file : files.split(" ", -1)) {
      Path path = model.resolve(file);
      Files.createDirectories(path.getParent());
      Files.writeString(path, "{}");
    }
    average(model, model).fails(1, model.toString(), said);
  }

  @Test
  void theBestCheckpointOfATrainingIsNamed() throws IOException {
    Path model = folder.resolve("run");
    for (String step : List.of("checkpoint-50", "checkpoint-100")) {
      Files.createDirectories(model.resolve(step));
    }
    Files.writeString(
        model.resolve("checkpoint-100/trainer_state.json"),
        "{\"log_history\": [{\"loss\": NaN}], \"best_model_checkpoint\": \"out/checkpoint-50\"}");
    average(model, model).fails(1, "/checkpoint-100 (the last)", "/checkpoint-50, which");
  }

  @Test
  void integerTensorsThatDifferAreSaid() {
    Path base = folder.resolve("base");
    Path one = folder.resolve("one");
    TestTensors.Tensor matrix = TestTensors.Tensor.of(List.of(2L), 1, 2);
    write(
        base,
        Map.of(
            "w",
            matrix,
            "index",
            TestTensors.Tensor.of(1, 2),
            "a.num_batches_tracked",
            TestTensors.Tensor.of(1)));
    write(
        one,
        Map.of(
            "w",
            matrix,
            "index",
            TestTensors.Tensor.of(2, 1),
            "a.num_batches_tracked",
            TestTensors.Tensor.of(7)));
    CommandResult result = average(base, one);
    assertThat(result.code()).isZero();
    assertThat(result.err()).contains("warning: ", one.toString(), "'index'");
    assertThat(result.err()).doesNotContain("num_batches");
  }

  @Test
  void oneFileUnderTwoNamesIsGivenTwice() throws IOException {
    Path models = Cases.copy("case-12", folder);
    Path linked = Files.createDirectory(folder.resolve("linked"));
    Files.createSymbolicLink(
        linked.resolve("model.safetensors"), models.resolve("beta/model.safetensors"));
    average(models.resolve("base"), models.resolve("beta"), linked).fails(1, "given twice");
  }
}
