package org.fishermerge.testkit;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.zip.GZIPInputStream;

/**
 * Reference vectors made by transformers, PyTorch float64 autograd and FusionBench's formulas. They
 * are resources of this module; tests need them as files, so they are unpacked once per JVM.
 */
public final class Golden {
  private Golden() {}

  /**
   * A golden file or folder on disk, for example {@code path("clip-tiny/alpha")}. Read-only by
   * convention: every test of a JVM sees the same copy.
   */
  public static Path path(String relative) {
    Path path = Unpacked.ROOT.resolve(relative);
    if (!Files.exists(path)) {
      throw new IllegalArgumentException("no golden file " + relative);
    }
    return path;
  }

  private static final class Unpacked {
    static final Path ROOT = unpack();

    private static Path unpack() {
      try {
        Path root = Files.createTempDirectory("fisher-merge-golden");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> deleteRecursively(root)));
        for (String name : index()) {
          boolean packed = name.endsWith(".gz");
          Path target = root.resolve(packed ? name.substring(0, name.length() - 3) : name);
          Files.createDirectories(Objects.requireNonNull(target.getParent()));
          try (InputStream raw = resource(name);
              InputStream in = packed ? new GZIPInputStream(raw) : raw) {
            Files.copy(in, target);
          }
        }
        return root;
      } catch (IOException e) {
        throw new UncheckedIOException("cannot unpack the golden vectors", e);
      }
    }

    private static List<String> index() throws IOException {
      try (InputStream in = resource("index.txt")) {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
      }
    }

    private static InputStream resource(String name) {
      return Objects.requireNonNull(
          Golden.class.getResourceAsStream("/golden/" + name), "resource golden/" + name);
    }
  }

  private static void deleteRecursively(Path folder) {
    try (var paths = Files.walk(folder)) {
      for (Path path : paths.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.deleteIfExists(path);
      }
    } catch (IOException e) {
      // A leftover temporary folder must not turn a passing run into a failing one.
      System.err.println("could not delete " + folder + ": " + e);
    }
  }
}
