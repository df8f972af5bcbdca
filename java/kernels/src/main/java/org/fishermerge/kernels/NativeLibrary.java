package org.fishermerge.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Finds, unpacks and loads the native library. */
@SuppressWarnings("restricted")
final class NativeLibrary {
  private NativeLibrary() {}

  /**
   * Loads a library and answers where from; every failure is an {@link UnsatisfiedLinkError} that
   * says what to do.
   *
   * @param property the system property that names a file to load in place of the packaged one
   * @param remedy what to do where none was found
   */
  static String load(String name, String property, String remedy) {
    String override = System.getProperty(property, "");
    if (!override.isEmpty()) {
      Path path = Path.of(override).toAbsolutePath();
      if (!Files.isRegularFile(path)) {
        throw new UnsatisfiedLinkError("-D%s=%s is not a file".formatted(property, override));
      }
      load(path, property);
      return path.toString();
    }
    String resource = "native/" + platform() + "/" + System.mapLibraryName(name);
    try (InputStream in = open(resource)) {
      if (in == null) {
        throw new UnsatisfiedLinkError(
            "there is no %s for %s; %s, or set -D%s=FILE"
                .formatted(name, platform(), remedy, property));
      }
      loadCopy(in, System.mapLibraryName(name), property);
      return "packaged " + resource;
    } catch (IOException e) {
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError(
              "cannot unpack the native library into %s (set -Djava.io.tmpdir or -D%s=FILE): %s"
                  .formatted(System.getProperty("java.io.tmpdir"), property, e));
      error.initCause(e);
      throw error;
    }
  }

  /** This jar's resource, or one of the same package in a jar beside it, which may be a module. */
  private static @Nullable InputStream open(String resource) {
    InputStream own = NativeLibrary.class.getResourceAsStream(resource);
    return own != null
        ? own
        : NativeLibrary.class
            .getClassLoader()
            .getResourceAsStream(
                NativeLibrary.class.getPackageName().replace('.', '/') + "/" + resource);
  }

  /** What to start Java with where the program must be allowed to call native code. */
  static String enableNativeAccess() {
    Module module = NativeLibrary.class.getModule();
    return "--enable-native-access=" + (module.isNamed() ? module.getName() : "ALL-UNNAMED");
  }

  private static void load(Path library, String property) {
    try {
      loadAllowed(library);
    } catch (UnsatisfiedLinkError e) {
      if (!String.valueOf(e.getMessage()).contains("already loaded in another classloader")) {
        throw e;
      }
      // The JVM takes a file once only; of another name it is another library.
      try (InputStream in = Files.newInputStream(library)) {
        loadCopy(in, library.getFileName().toString(), property);
      } catch (IOException unreadable) {
        e.addSuppressed(unreadable);
        throw e;
      }
    }
  }

  private static void loadCopy(InputStream in, String name, String property) throws IOException {
    // A folder only this user can enter, so that nobody can replace the file between writing and
    // loading it.
    Path folder = Files.createTempDirectory("fisher-kernels-");
    Path file = folder.resolve(name);
    try {
      Files.copy(in, file, StandardCopyOption.REPLACE_EXISTING);
      loadAllowed(file);
    } catch (UnsatisfiedLinkError e) {
      if (e.getCause() instanceof IllegalCallerException) {
        throw e;
      }
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError(
              "%s; where %s is mounted noexec, set -Djava.io.tmpdir to another folder, or -D%s=FILE"
                  .formatted(e.getMessage(), System.getProperty("java.io.tmpdir"), property));
      error.initCause(e);
      throw error;
    } finally {
      // The loaded mapping outlives the name, so nothing is left behind even when the process is
      // killed.
      Files.deleteIfExists(file);
      Files.deleteIfExists(folder);
    }
  }

  private static void loadAllowed(Path library) {
    try {
      System.load(library.toString());
    } catch (IllegalCallerException e) {
      UnsatisfiedLinkError error =
          new UnsatisfiedLinkError(
              "native access is denied to it; start Java with " + enableNativeAccess());
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
