package org.fishermerge.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;

/** Finds, unpacks and loads the native library. */
@SuppressWarnings("restricted")
final class NativeLibrary {
  private NativeLibrary() {}

  /**
   * Loads the library and answers where from; every failure is an {@link UnsatisfiedLinkError} that
   * says what to do.
   */
  static String load() {
    String override = System.getProperty(KernelOptions.LIBRARY_PATH, "");
    if (!override.isEmpty()) {
      Path path = Path.of(override).toAbsolutePath();
      if (!Files.isRegularFile(path)) {
        throw new UnsatisfiedLinkError(
            "-D%s=%s is not a file".formatted(KernelOptions.LIBRARY_PATH, override));
      }
      System.load(path.toString());
      return path.toString();
    }
    String resource = "native/" + platform() + "/" + System.mapLibraryName("fisher_kernels");
    try (InputStream in = NativeLibrary.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new UnsatisfiedLinkError(
            "this build has no native library for %s (resource %s); build native/ on this platform, or set -D%s=FILE"
                .formatted(platform(), resource, KernelOptions.LIBRARY_PATH));
      }
      // A folder only this user can enter, so that nobody can replace the file between writing and
      // loading it.
      Path folder = Files.createTempDirectory("fisher-kernels-");
      Path file = folder.resolve(System.mapLibraryName("fisher_kernels"));
      try {
        Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING);
        System.load(file.toString());
        return "packaged " + resource;
      } finally {
        // The loaded mapping outlives the name, so nothing is left behind even when the process is
        // killed.
        Files.deleteIfExists(file);
        Files.deleteIfExists(folder);
      }
    } catch (IOException e) {
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError(
              "cannot unpack the native library into %s (set -Djava.io.tmpdir or -D%s=FILE): %s"
                  .formatted(System.getProperty("java.io.tmpdir"), KernelOptions.LIBRARY_PATH, e));
      error.initCause(e);
      throw error;
    }
  }

  /** For instance {@code linux-x86_64}, {@code linux-aarch64}. */
  static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String osName = os.startsWith("mac") ? "macos" : os.startsWith("windows") ? "windows" : "linux";
    return osName + "-" + (arch.equals("amd64") ? "x86_64" : arch);
  }
}
