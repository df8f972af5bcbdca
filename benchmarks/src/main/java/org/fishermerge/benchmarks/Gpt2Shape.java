package org.fishermerge.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The shape of a GPT-2, and classification folders of that shape with random weights. */
public record Gpt2Shape(
    String name, int width, int layers, int heads, int vocabulary, int positions) {
  /** GPT-2 small: 124,439,808 parameters. */
  public static final Gpt2Shape SMALL = new Gpt2Shape("gpt2", 768, 12, 12, 50257, 1024);

  private static final int CLASSES = 2;

  /** Parameters of the backbone by name. */
  public Map<String, List<Long>> parameters() {
    long d = width;
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    shapes.put("wte.weight", List.of((long) vocabulary, d));
    shapes.put("wpe.weight", List.of((long) positions, d));
    for (int i = 0; i < layers; i++) {
      String layer = "h." + i + ".";
      norm(shapes, layer + "ln_1");
      dense(shapes, layer + "attn.c_attn", d, 3 * d);
      dense(shapes, layer + "attn.c_proj", d, d);
      norm(shapes, layer + "ln_2");
      dense(shapes, layer + "mlp.c_fc", d, 4 * d);
      dense(shapes, layer + "mlp.c_proj", 4 * d, d);
    }
    norm(shapes, "ln_f");
    return shapes;
  }

  private void norm(Map<String, List<Long>> shapes, String layer) {
    shapes.put(layer + ".weight", List.of((long) width));
    shapes.put(layer + ".bias", List.of((long) width));
  }

  private static void dense(Map<String, List<Long>> shapes, String layer, long in, long out) {
    shapes.put(layer + ".weight", List.of(in, out));
    shapes.put(layer + ".bias", List.of(out));
  }

  /** Parameters of the backbone. */
  public long parameterCount() {
    return RandomTensors.count(parameters());
  }

  /** Writes a classification folder with random weights of a trained model's scale. */
  public Path write(Path folder, long seed) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"architectures": ["GPT2ForSequenceClassification"], "model_type": "gpt2",
         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_embd": %d,
         "n_head": %d, "n_layer": %d, "n_positions": %d, "vocab_size": %d, "pad_token_id": %d}
        """
            .formatted(width, heads, layers, positions, vocabulary, vocabulary - 1));
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    parameters().forEach((parameter, shape) -> shapes.put("transformer." + parameter, shape));
    shapes.put("score.weight", List.of((long) CLASSES, (long) width));
    RandomTensors.writeModel(folder.resolve("model.safetensors"), shapes, seed);
    return folder;
  }

  /** Writes a bare Fisher file of this shape: non-negative values over several magnitudes. */
  public Path writeFisher(Path file, long seed) {
    RandomTensors.writeFisher(file, parameters(), seed);
    return file;
  }
}
