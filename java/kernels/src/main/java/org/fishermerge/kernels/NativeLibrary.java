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
   * Loads a library and answers where from; every failure is an {@link UnsatisfiedLinkError} that
   * says what to do.
   *
   * @param property the system property that names a file to load in place of the packaged one
   * @param remedy what to do where this build has none
   */
  static String load(String name, String property, String remedy) {
    String override = System.getProperty(property, "");
    if (!override.isEmpty()) {
      Path path = Path.of(override).toAbsolutePath();
      if (!Files.isRegularFile(path)) {
        throw new UnsatisfiedLinkError("-D%s=%s is not a file".formatted(property, override));
      }
      System.load(path.toString());
      return path.toString();
    }
    String resource = "native/" + platform() + "/" + System.mapLibraryName(name);
    try (InputStream in = NativeLibrary.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new UnsatisfiedLinkError(
            "this build has no %s for %s; %s, or set -D%s=FILE"
                .formatted(name, platform(), remedy, property));
      }
      // A folder only this user can enter, so that nobody can replace the file between writing and
      // loading it.
      Path folder = Files.createTempDirectory("fisher-kernels-");
      Path file = folder.resolve(System.mapLibraryName(name));
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
                  .formatted(System.getProperty("java.io.tmpdir"), property, e));
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
