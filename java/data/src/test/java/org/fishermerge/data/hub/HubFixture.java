package org.fishermerge.data.hub;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.fishermerge.testkit.TestHub;

/** A hub with one model, an empty cache, and clients that do not wait long. */
final class HubFixture implements AutoCloseable {
  static final String ID = "org/tiny-model";
  static final int WEIGHT_BYTES = 300_001;
  static final String WEIGHTS = "model.safetensors";

  final TestHub server = TestHub.start();
  final Path model;
  final Path cache;
  final Map<String, String> environment = new HashMap<>();

  /** What the clients said, and how long they would have waited. */
  final List<String> notes = Collections.synchronizedList(new ArrayList<>());

  final List<Duration> waits = Collections.synchronizedList(new ArrayList<>());

  HubFixture(Path folder) {
    model = folder.resolve("served");
    cache = folder.resolve("home/hub");
    write(model.resolve("config.json"), "{\"model_type\": \"clip\"}\n");
    write(model.resolve(WEIGHTS), random(WEIGHT_BYTES));
    write(model.resolve("tokenizer.json"), "{}");
    write(model.resolve("preprocessor_config.json"), "{\"size\": 224}");
    write(model.resolve("README.md"), "# A model\n");
    write(model.resolve("pytorch_model.bin"), random(1001));
    write(model.resolve("tf_model.h5"), random(1002));
    write(model.resolve("onnx/model.onnx"), random(1003));
    server.repository(TestHub.Kind.MODEL, ID, model);
    environment.put("HF_HOME", folder.resolve("home").toString());
    environment.put("HF_ENDPOINT", server.endpoint());
  }

  static byte[] random(int size) {
    byte[] bytes = new byte[size];
    new Random(size).nextBytes(bytes);
    return bytes;
  }

  static void write(Path file, String text) {
    write(file, text.getBytes(java.nio.charset.StandardCharsets.UTF_8));
  }

  static void write(Path file, byte[] bytes) {
    try {
      Files.createDirectories(Objects.requireNonNull(file.getParent()));
      Files.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static Repository repository() {
    return Repository.model(ID);
  }

  HubSettings settings() {
    // Long enough for a busy machine, short enough for a test of stalls.
    return HubSettings.from(environment)
        .withPatience(Duration.ofMillis(1500), 3, Duration.ofMillis(100));
  }

  /** A client that writes down its waits instead of waiting. */
  Hub client() {
    return client(Long.MAX_VALUE);
  }

  Hub client(long freeSpace) {
    HubProgress progress =
        new HubProgress() {
          @Override
          public void downloaded(String file, long bytes, long total) {}

          @Override
          public void note(String message) {
            notes.add(message);
          }
        };
    return new Hub(settings(), progress, waits::add, path -> freeSpace);
  }

  /** Downloads the model with a new client. */
  Path download() {
    try (Hub hub = client()) {
      return hub.snapshot(repository(), WantedFiles.model());
    }
  }

  Path blob(String name) {
    return cache.resolve("models--org--tiny-model/blobs").resolve(TestHub.tag(model.resolve(name)));
  }

  @Override
  public void close() {
    server.close();
  }
}
