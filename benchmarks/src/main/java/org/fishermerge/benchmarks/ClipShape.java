package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.fishermerge.checkpoint.LinearLayer;

/** The shape of a CLIP image tower, and model folders of that shape with random weights. */
public record ClipShape(
    String name, int width, int layers, int heads, int mlp, int image, int patch, int projection) {
  /** CLIP-ViT-B/32: 87,456,000 parameters. */
  public static final ClipShape B32 = new ClipShape("b32", 768, 12, 12, 3072, 224, 32, 512);

  /** CLIP-ViT-L/14: 303,179,776 parameters. */
  public static final ClipShape L14 = new ClipShape("l14", 1024, 24, 16, 4096, 224, 14, 768);

  /** Tokens of a picture, with the class token. */
  public int tokens() {
    return (image / patch) * (image / patch) + 1;
  }

  /** Parameters of the image tower by name. */
  public Map<String, List<Long>> parameters() {
    long d = width;
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    shapes.put("embeddings.class_embedding", List.of(d));
    shapes.put("embeddings.patch_embedding.weight", List.of(d, 3L, (long) patch, (long) patch));
    shapes.put("embeddings.position_embedding.weight", List.of((long) tokens(), d));
    norm(shapes, "pre_layrnorm");
    for (int i = 0; i < layers; i++) {
      String layer = "encoder.layers." + i + ".";
      norm(shapes, layer + "layer_norm1");
      for (String part : List.of("q_proj", "k_proj", "v_proj", "out_proj")) {
        dense(shapes, layer + "self_attn." + part, d, d);
      }
      norm(shapes, layer + "layer_norm2");
      dense(shapes, layer + "mlp.fc1", mlp, d);
      dense(shapes, layer + "mlp.fc2", d, mlp);
    }
    norm(shapes, "post_layernorm");
    return shapes;
  }

  private void norm(Map<String, List<Long>> shapes, String layer) {
    shapes.put(layer + ".weight", List.of((long) width));
    shapes.put(layer + ".bias", List.of((long) width));
  }

  private static void dense(Map<String, List<Long>> shapes, String layer, long out, long in) {
    shapes.put(layer + ".weight", List.of(out, in));
    shapes.put(layer + ".bias", List.of(out));
  }

  /** Parameters of the image tower. */
  public long parameterCount() {
    return RandomTensors.count(parameters());
  }

  /**
   * Writes a model folder with random weights of a trained model's scale, and the projection and
   * logit scale that a head needs.
   */
  public Path write(Path folder, long seed) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["CLIPVisionModel"], "dtype": "float32", "hidden_act": "quick_gelu",
         "hidden_size": %d, "image_size": %d, "intermediate_size": %d, "layer_norm_eps": 1e-05,
         "model_type": "clip_vision_model", "num_attention_heads": %d, "num_channels": 3,
         "num_hidden_layers": %d, "patch_size": %d, "projection_dim": %d}
        """
            .formatted(width, image, mlp, heads, layers, patch, projection));
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    parameters().forEach((name, shape) -> shapes.put("vision_model." + name, shape));
    shapes.put("visual_projection.weight", List.of((long) projection, (long) width));
    shapes.put("logit_scale", List.of());
    RandomTensors.writeModel(folder.resolve("model.safetensors"), shapes, seed);
    return folder;
  }

  /**
   * The linear layers by their weights, without tokens; the patch convolution is one over patches.
   */
  public Map<String, LinearLayer> linearLayers() {
    Map<String, LinearLayer> linear = new LinkedHashMap<>();
    parameters()
        .forEach((name, shape) -> {
          if ((shape.size() == 2 && !name.contains("embedding")) || shape.size() == 4) {
            long inputs = shape.stream().skip(1).reduce(1L, (x, y) -> x * y);
            linear.put(name, new LinearLayer(shape.getFirst(), inputs, false, 0));
          }
        });
    return linear;
  }

  /** Writes a Fisher file of this shape: non-negative values over several magnitudes. */
  public Path writeFisher(Path file, long seed) {
    RandomTensors.writeFisher(file, parameters(), seed);
    return file;
  }
}
