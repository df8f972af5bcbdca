package org.fishermerge.cli.demo;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.SafetensorsWriter;

/** The demo's files: the models that ship with the program, laid out as people keep theirs. */
final class DemoFiles {
  static final int WIDTH = 64;
  static final int LAYERS = 2;
  static final int HEADS = 4;
  static final int MLP = 256;
  static final int PATCH = 8;
  static final int PICTURE_BYTES = Canvas.CHANNELS * Canvas.SIDE * Canvas.SIDE;
  private static final double MEAN = 0.5;
  private static final double DEVIATION = 0.25;

  private static final String MODELS = "models.safetensors";
  private static final String CONFIG =
      """
      {
        "architectures": ["CLIPVisionModel"],
        "dtype": "float16",
        "hidden_act": "quick_gelu",
        "hidden_size": %d,
        "image_size": %d,
        "intermediate_size": %d,
        "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model",
        "num_attention_heads": %d,
        "num_channels": %d,
        "num_hidden_layers": %d,
        "patch_size": %d,
        "projection_dim": %d
      }
      """;
  private static final String PREPROCESSOR =
      """
      {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": {"shortest_edge": %1$d},
        "resample": 3,
        "do_center_crop": true,
        "crop_size": {"height": %1$d, "width": %1$d},
        "do_rescale": true,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": true,
        "image_mean": [%2$s, %2$s, %2$s],
        "image_std": [%3$s, %3$s, %3$s]
      }
      """;

  private DemoFiles() {}

  /** What preprocessing makes of a byte of a picture. */
  static float normalized(byte value) {
    return (float) (((value & 0xff) / 255.0 - MEAN) / DEVIATION);
  }

  /** The demo tower's parameters and their shapes. */
  static Map<String, List<Long>> towerShapes() {
    long tokens = (long) (Canvas.SIDE / PATCH) * (Canvas.SIDE / PATCH) + 1;
    long width = WIDTH;
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    shapes.put("embeddings.class_embedding", List.of(width));
    shapes.put(
        "embeddings.patch_embedding.weight",
        List.of(width, (long) Canvas.CHANNELS, (long) PATCH, (long) PATCH));
    shapes.put("embeddings.position_embedding.weight", List.of(tokens, width));
    norm(shapes, "pre_layrnorm");
    for (int i = 0; i < LAYERS; i++) {
      String layer = "encoder.layers." + i + ".";
      norm(shapes, layer + "layer_norm1");
      for (String part : List.of("q_proj", "k_proj", "v_proj", "out_proj")) {
        dense(shapes, layer + "self_attn." + part, width, width);
      }
      norm(shapes, layer + "layer_norm2");
      dense(shapes, layer + "mlp.fc1", MLP, width);
      dense(shapes, layer + "mlp.fc2", width, MLP);
    }
    norm(shapes, "post_layernorm");
    return shapes;
  }

  private static void norm(Map<String, List<Long>> shapes, String name) {
    shapes.put(name + ".weight", List.of((long) WIDTH));
    shapes.put(name + ".bias", List.of((long) WIDTH));
  }

  private static void dense(Map<String, List<Long>> shapes, String name, long out, long in) {
    shapes.put(name + ".weight", List.of(out, in));
    shapes.put(name + ".bias", List.of(out));
  }

  /** The shape of a tensor in the models file, whose towers' names carry the model's as prefix. */
  static List<Long> shape(String name, Map<String, List<Long>> shapes) {
    List<Long> shape = shapes.get(name);
    if (shape == null) {
      shape = shapes.get(name.substring(name.indexOf('.') + 1));
    }
    return Objects.requireNonNull(shape, name);
  }

  /** config.json and preprocessor_config.json of the demo's tower. */
  static void writeConfigs(Path folder) throws IOException {
    Files.writeString(
        folder.resolve("config.json"),
        CONFIG.formatted(
            WIDTH,
            Canvas.SIDE,
            MLP,
            HEADS,
            Canvas.CHANNELS,
            LAYERS,
            PATCH,
            DemoTrainer.PROJECTION));
    Files.writeString(
        folder.resolve("preprocessor_config.json"),
        PREPROCESSOR.formatted(Canvas.SIDE, MEAN, DEVIATION));
  }

  /** Copies the models file that ships with the program. */
  static void copyModels(Path target) {
    try (InputStream in =
        Objects.requireNonNull(DemoFiles.class.getResourceAsStream(MODELS), MODELS)) {
      Files.copy(in, target);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write " + target, e);
    }
  }

  /**
   * Lays a models file out as folders: {@code models/base} (with projection and logit scale),
   * {@code models/TASK} for each task.
   */
  static void layOut(Path modelsFile, Path folder, List<? extends PictureTask> tasks) {
    try (Checkpoint all = Checkpoint.open(modelsFile)) {
      writeModel(all, "base", folder.resolve("base"));
      for (PictureTask task : tasks) {
        writeModel(all, task.key(), folder.resolve(task.key()));
      }
    } catch (IOException e) {
      throw new UncheckedIOException("cannot write models under " + folder, e);
    }
  }

  private static void writeModel(Checkpoint all, String model, Path folder) throws IOException {
    Files.createDirectories(folder);
    writeConfigs(folder);
    Map<String, String> sources = new LinkedHashMap<>();
    towerShapes().keySet().forEach(name -> sources.put(name, model + "." + name));
    if (model.equals("base")) {
      sources.put("visual_projection.weight", "visual_projection.weight");
      sources.put("logit_scale", "logit_scale");
    }
    List<SafetensorsWriter.Declared> declared = new ArrayList<>();
    sources.forEach((name, source) ->
        declared.add(
            new SafetensorsWriter.Declared(name, DType.F16, all.tensor(source).info().shape())));
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(
            folder.resolve("model.safetensors"), declared, Map.of("format", "pt"))) {
      sources.forEach((name, source) -> writer.segment(name).copyFrom(all.segment(source)));
      writer.finish();
    }
  }

  /** Draws {@code count} labelled pictures of a task into one safetensors file. */
  static void writePictures(PictureTask task, long seed, int count, Path file) {
    List<SafetensorsWriter.Declared> declared =
        List.of(
            new SafetensorsWriter.Declared(
                "pixel_values",
                DType.U8,
                List.of(
                    (long) count, (long) Canvas.CHANNELS, (long) Canvas.SIDE, (long) Canvas.SIDE)),
            new SafetensorsWriter.Declared("labels", DType.I64, List.of((long) count)));
    try (SafetensorsWriter writer =
        SafetensorsWriter.create(file, declared, Map.of("task", task.key()))) {
      MemorySegment pixels = writer.segment("pixel_values");
      MemorySegment labels = writer.segment("labels");
      for (int i = 0; i < count; i++) {
        PictureTask.Picture picture = task.picture(seed, i);
        MemorySegment.copy(
            picture.pixels(),
            0,
            pixels,
            ValueLayout.JAVA_BYTE,
            (long) i * PICTURE_BYTES,
            PICTURE_BYTES);
        labels.set(ValueLayout.JAVA_LONG_UNALIGNED, (long) i * Long.BYTES, picture.label());
      }
      writer.finish();
    }
  }

  static void deleteRecursively(Path folder) throws IOException {
    try (var paths = Files.walk(folder)) {
      for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(path);
      }
    }
  }
}
