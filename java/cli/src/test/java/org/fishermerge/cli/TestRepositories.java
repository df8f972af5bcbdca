package org.fishermerge.cli;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.fishermerge.cli.TestTensors.Tensor;
import org.fishermerge.estimate.ClassPrompts;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.TestHub;

/**
 * Small models and data sets under the ids that the published commands name: the tiny reference
 * models, a tower with patches of 14 pixels, pictures and texts in Parquet files laid out as on the
 * hub, each with files beside them that nobody should download.
 */
final class TestRepositories {
  static final List<String> CLIP_TASKS =
      List.of("sun397", "stanford-cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd");

  /** The columns of texts by task, as in the GLUE data sets. */
  static final Map<String, List<String>> GLUE_TASKS = new LinkedHashMap<>();

  static {
    GLUE_TASKS.put("cola", List.of("sentence"));
    GLUE_TASKS.put("mnli", List.of("premise", "hypothesis"));
    GLUE_TASKS.put("mrpc", List.of("sentence1", "sentence2"));
    GLUE_TASKS.put("qnli", List.of("question", "sentence"));
    GLUE_TASKS.put("qqp", List.of("question1", "question2"));
    GLUE_TASKS.put("rte", List.of("sentence1", "sentence2"));
    GLUE_TASKS.put("sst2", List.of("sentence"));
  }

  private static final int TRAIN_ROWS = 10;
  private static final int TEST_ROWS = 5;
  private static final int PATCH_14_PICTURE = 28;
  private static final int VOCABULARY = 500;
  private static final String WEIGHTS = "model.safetensors";
  private static final String CONFIG = "config.json";

  private final Path folder;

  /**
   * @param folder gets {@code models/OWNER/NAME} and {@code datasets/OWNER/NAME}
   */
  TestRepositories(Path folder) {
    this.folder = folder;
  }

  Path model(String id) {
    return folder.resolve("models").resolve(id);
  }

  Path dataset(String id) {
    return folder.resolve("datasets").resolve(id);
  }

  /** Writes all of it. */
  void write() throws IOException, SQLException {
    clipBase32();
    clipLarge14();
    gpt2();
    try (Connection duckdb = DriverManager.getConnection("jdbc:duckdb:");
        Statement sql = duckdb.createStatement()) {
      pictures(duckdb, sql);
      texts(duckdb, sql);
    }
  }

  /** Puts all of it on a hub. */
  void serve(TestHub hub) throws IOException {
    serve(hub, TestHub.Kind.MODEL, folder.resolve("models"), CONFIG);
    serve(hub, TestHub.Kind.DATASET, folder.resolve("datasets"), "README.md");
  }

  private static void serve(TestHub hub, TestHub.Kind kind, Path root, String mark)
      throws IOException {
    try (Stream<Path> files = Files.walk(root, 3)) {
      for (Path file : files.filter(f -> f.endsWith(mark)).toList()) {
        Path repository = Objects.requireNonNull(file.getParent());
        hub.repository(kind, root.relativize(repository).toString(), repository);
      }
    }
  }

  /** Links each repository below {@code from} under its id in {@code to}. */
  static void link(Path from, Path to) throws IOException {
    try (Stream<Path> owners = Files.list(from)) {
      for (Path owner : owners.toList()) {
        try (Stream<Path> names = Files.list(owner)) {
          Path ownerThere = Files.createDirectories(to.resolve(from.relativize(owner).toString()));
          for (Path name : names.toList()) {
            Files.createSymbolicLink(
                ownerThere.resolve(Objects.requireNonNull(name.getFileName()).toString()), name);
          }
        }
      }
    }
  }

  // ---- models ----

  /** The tiny model that knows the words of the tasks. */
  private Path pretrained() throws IOException {
    Path pretrained = folder.resolve("pretrained");
    if (!Files.exists(pretrained)) {
      FewWords.write(
          pretrained,
          CLIP_TASKS.stream().map(task -> ClassPrompts.builtIn(task).orElseThrow()).toList());
    }
    return pretrained;
  }

  private void clipBase32() throws IOException {
    copy(pretrained(), model("openai/clip-vit-base-patch32"));
    List<String> towers = List.of("alpha", "beta", "gamma");
    for (int i = 0; i < CLIP_TASKS.size(); i++) {
      copy(
          Golden.path("clip-tiny/" + towers.get(i % towers.size())),
          model("tanganke/clip-vit-base-patch32_" + CLIP_TASKS.get(i)));
    }
  }

  /** The tiny model with patches of 14 pixels, and towers that random steps lead away from it. */
  private void clipLarge14() throws IOException {
    Path original = pretrained();
    Path base = model("openai/clip-vit-large-patch14");
    copy(original, base);
    Random random = new Random(14);
    Map<String, Tensor> tensors = new TreeMap<>(TestTensors.read(original).tensors());
    String embeddings = "vision_model.embeddings.";
    tensors.put(embeddings + "patch_embedding.weight", random(random, 24, 3, 14, 14));
    tensors.put(embeddings + "position_embedding.weight", random(random, 5, 24));
    tensors.remove(embeddings + "position_ids");
    Files.delete(base.resolve(WEIGHTS));
    TestTensors.write(base.resolve(WEIGHTS), tensors);
    for (String name : List.of(CONFIG, "preprocessor_config.json")) {
      String text = Files.readString(base.resolve(name));
      Files.writeString(
          base.resolve(name),
          text.replace("\"patch_size\": 8", "\"patch_size\": 14")
              .replace("\"image_size\": 32", "\"image_size\": " + PATCH_14_PICTURE)
              .replaceAll("\"(height|width|shortest_edge)\": 32", "\"$1\": " + PATCH_14_PICTURE));
    }
    String config =
        Files.readString(Golden.path("clip-tiny/alpha").resolve(CONFIG))
            .replace("\"patch_size\": 8", "\"patch_size\": 14")
            .replace("\"image_size\": 32", "\"image_size\": " + PATCH_14_PICTURE);
    for (String task : CLIP_TASKS) {
      Map<String, Tensor> tuned = new TreeMap<>();
      tensors.forEach((name, tensor) -> {
        if (name.startsWith("vision_model.")) {
          tuned.put(name, moved(random, tensor));
        }
      });
      Path to = Files.createDirectories(model("tanganke/clip-vit-large-patch14_" + task));
      TestTensors.write(to.resolve(WEIGHTS), tuned);
      Files.writeString(to.resolve(CONFIG), config);
    }
  }

  private void gpt2() throws IOException {
    Path base = model("gpt2");
    largerVocabulary(Golden.path("gpt2-tiny/pretrained"), base);
    for (String name : List.of("tokenizer.json", "vocab.json", "merges.txt")) {
      Files.copy(Golden.path("gpt2-tokenizer").resolve(name), base.resolve(name));
    }
    Files.writeString(base.resolve("tf_model.h5"), "weights of another framework");
    Files.writeString(base.resolve("flax_model.msgpack"), "weights of another framework");
    for (String task : GLUE_TASKS.keySet()) {
      String original = task.equals("mnli") ? "mnli" : "cola"; // three classes, two
      largerVocabulary(Golden.path("gpt2-tiny/" + original), model("tanganke/gpt2_" + task));
    }
  }

  /** A tiny GPT-2 with its token embeddings repeated, for a tokenizer with more tokens. */
  static void largerVocabulary(Path original, Path target) throws IOException {
    copy(original, target);
    Map<String, Tensor> tensors = new TreeMap<>(TestTensors.read(original).tensors());
    Tensor rows = TestTensors.read(original).get("transformer.wte.weight");
    int had = Math.toIntExact(rows.shape().getFirst());
    tensors.put(
        "transformer.wte.weight",
        Tensor.concat(Collections.nCopies(Math.ceilDiv(VOCABULARY, had), rows))
            .rows(0, VOCABULARY));
    Files.delete(target.resolve(WEIGHTS));
    TestTensors.write(target.resolve(WEIGHTS), tensors);
    Path config = target.resolve(CONFIG);
    Files.writeString(
        config,
        Files.readString(config)
            .replace("\"vocab_size\": " + had, "\"vocab_size\": " + VOCABULARY)
            .replace("\"pad_token_id\": 96", "\"pad_token_id\": " + (VOCABULARY - 1)));
  }

  /** Copies what the reference models consist of, and adds what must not be downloaded. */
  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Path target = to.resolve(Objects.requireNonNull(file.getFileName()).toString());
        Files.write(target, Files.readAllBytes(file));
      }
    }
    Files.writeString(to.resolve("README.md"), "# A model\n");
    Files.writeString(to.resolve("pytorch_model.bin"), "a pickle");
  }

  private static Tensor random(Random random, long... shape) {
    List<Long> sizes = new ArrayList<>();
    int count = 1;
    for (long size : shape) {
      sizes.add(size);
      count *= Math.toIntExact(size);
    }
    float[] values = new float[count];
    for (int j = 0; j < count; j++) {
      values[j] = (float) (0.1 * random.nextGaussian());
    }
    return Tensor.of(sizes, values);
  }

  private static Tensor moved(Random random, Tensor from) {
    float[] values = from.floats();
    for (int j = 0; j < values.length; j++) {
      values[j] += (float) (0.02 * random.nextGaussian());
    }
    return Tensor.of(from.shape(), values);
  }

  // ---- data ----

  /** Pictures are larger than the model's, and of another shape. */
  private void pictures(Connection duckdb, Statement sql) throws IOException, SQLException {
    sql.execute("CREATE TABLE pictures (i BIGINT, bytes BLOB)");
    try (PreparedStatement insert = duckdb.prepareStatement("INSERT INTO pictures VALUES (?, ?)")) {
      for (int i = 0; i < TRAIN_ROWS; i++) {
        insert.setLong(1, i);
        insert.setBytes(2, picture(i));
        insert.execute();
      }
    }
    for (int t = 0; t < CLIP_TASKS.size(); t++) {
      String task = CLIP_TASKS.get(t);
      String rows =
          "SELECT {'bytes': bytes, 'path': NULL} AS image, (i * %d) %% 10 AS label FROM pictures"
              .formatted(t + 1);
      switch (task) {
        case "svhn" -> picturesOf("ufldl-stanford/svhn", "cropped_digits", rows, sql);
        case "mnist" -> picturesOf("ylecun/mnist", "mnist", rows, sql);
        default -> picturesOf("tanganke/" + task.replace('-', '_'), "data", rows, sql);
      }
    }
  }

  private void picturesOf(String id, String inside, String rows, Statement sql)
      throws IOException, SQLException {
    Path to = Files.createDirectories(dataset(id).resolve(inside));
    // Two shards, as large data sets have.
    parquet(sql, rows + " WHERE i < 6 ORDER BY i", to.resolve("train-00000-of-00002.parquet"));
    parquet(sql, rows + " WHERE i >= 6 ORDER BY i", to.resolve("train-00001-of-00002.parquet"));
    parquet(
        sql,
        rows + " ORDER BY i DESC LIMIT " + TEST_ROWS,
        to.resolve("test-00000-of-00001.parquet"));
    parquet(sql, rows + " LIMIT 1", to.resolve("contrast-00000-of-00001.parquet"));
    String name = inside.equals("data") ? "default" : inside;
    StringBuilder card = new StringBuilder("---\nconfigs:\n- config_name: " + name + "\n");
    card.append("  data_files:\n");
    for (String split : List.of("train", "test", "contrast")) {
      card.append("  - split: %s\n    path: %s/%s-*\n".formatted(split, inside, split));
    }
    Files.writeString(dataset(id).resolve("README.md"), card + "---\n# Pictures\n");
  }

  private void texts(Connection duckdb, Statement sql) throws IOException, SQLException {
    Path glue = dataset("nyu-mll/glue");
    StringBuilder card = new StringBuilder("---\nconfigs:\n");
    sql.execute("CREATE TABLE texts (i BIGINT, one VARCHAR, two VARCHAR)");
    try (PreparedStatement insert = duckdb.prepareStatement("INSERT INTO texts VALUES (?, ?, ?)")) {
      for (int i = 0; i < TRAIN_ROWS; i++) {
        insert.setLong(1, i);
        insert.setString(2, "the sea and ".repeat(i % 3) + "a ship");
        insert.setString(3, i % 2 == 0 ? "it sails" : "it does not sail");
        insert.execute();
      }
    }
    for (Map.Entry<String, List<String>> entry : GLUE_TASKS.entrySet()) {
      String task = entry.getKey();
      List<String> columns = entry.getValue();
      Path to = Files.createDirectories(glue.resolve(task));
      int classes = task.equals("mnli") ? 3 : 2;
      String rows =
          "SELECT one AS %s, %s i %% %d AS label, i AS idx FROM texts"
              .formatted(
                  columns.getFirst(),
                  columns.size() > 1 ? "two AS " + columns.get(1) + "," : "",
                  classes);
      String held = task.equals("mnli") ? "validation_matched" : "validation";
      card.append("- config_name: %s\n  data_files:\n".formatted(task));
      for (String split : List.of("train", held, "test")) {
        parquet(
            sql,
            rows + " ORDER BY i" + (split.equals("train") ? "" : " LIMIT " + TEST_ROWS),
            to.resolve(split + "-00000-of-00001.parquet"));
        card.append("  - split: %s\n    path: %s/%s-*\n".formatted(split, task, split));
      }
    }
    Files.writeString(glue.resolve("README.md"), card + "---\n# GLUE\n");
  }

  private static void parquet(Statement sql, String rows, Path file) throws SQLException {
    sql.execute("COPY (%s) TO '%s' (FORMAT parquet)".formatted(rows, file));
  }

  private static byte[] picture(int row) throws IOException {
    BufferedImage image = new BufferedImage(40, 35, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < 35; y++) {
      for (int x = 0; x < 40; x++) {
        image.setRGB(x, y, (x * 6 % 256) << 16 | (y * 7 % 256) << 8 | row * 23 % 256);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    return png.toByteArray();
  }
}
