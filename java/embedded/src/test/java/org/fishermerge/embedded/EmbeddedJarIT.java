package org.fishermerge.embedded;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.ref.WeakReference;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.fishermerge.kernels.KernelOptions;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.MergeSession;
import org.fishermerge.merge.ProgressListener;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.SafetensorsBuilder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The jar that others embed works alone, from another folder, with the README's example. */
final class EmbeddedJarIT {
  private static final long MAX_BYTES = 5_000_000;

  @TempDir Path folder;

  /** Without native access kernels run in plain Java, with the same bits. */
  @ParameterizedTest
  @ValueSource(strings = {"--enable-native-access=ALL-UNNAMED", "--illegal-native-access=deny"})
  void mergesFromAnotherFolder(String access) throws IOException, InterruptedException {
    Path jar = Path.of(Objects.requireNonNull(System.getProperty("fishermerge.embedded.jar")));
    assertThat(Files.size(jar)).isLessThan(MAX_BYTES);
    Path moved = Files.copy(jar, folder.resolve("moved.jar"));
    Path example = folder.resolve("EmbeddingExample.java");
    try (var in = Objects.requireNonNull(getClass().getResourceAsStream("EmbeddingExample.java"))) {
      Files.copy(in, example);
    }
    Path base = Golden.path("clip-tiny/pretrained");
    Path alpha = Golden.path("clip-tiny/alpha");
    Path beta = Golden.path("clip-tiny/beta");
    Path alphaFisher = fisher("alpha");
    Path betaFisher = fisher("beta");
    Path output = folder.resolve("merged");
    Path log = folder.resolve("log.txt");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                // Most of it is javac, which is over before the second compiler has paid for
                // itself.
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                access,
                "-cp",
                moved.toString(),
                example.toString(),
                base.toString(),
                output.toString(),
                alpha.toString(),
                alphaFisher.toString(),
                beta.toString(),
                betaFisher.toString())
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertThat(process.waitFor()).as(Files.readString(log)).isZero();

    Path expected = folder.resolve("expected");
    MergeRequest request =
        MergeRequest.builder(base, expected, DiagonalFisher.DEFAULT)
            .model(alpha, alphaFisher)
            .model(beta, betaFisher)
            .build();
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open()) {
      session.run(kernels, ProgressListener.NONE);
    }
    assertThat(output.resolve("model.safetensors"))
        .hasSameBinaryContentAs(expected.resolve("model.safetensors"));
  }

  /**
   * A server that deploys again drops the class loader of before: with it go its classes, and the
   * native library that they loaded.
   */
  @Test
  void aClosedClassLoaderIsFreed() throws Exception {
    Path jar = Path.of(Objects.requireNonNull(System.getProperty("fishermerge.embedded.jar")));
    long before = mappings();
    List<WeakReference<ClassLoader>> loaders = new ArrayList<>();
    for (int deployment = 0; deployment < 3; deployment++) {
      loaders.add(mergeInItsOwnLoader(jar, folder.resolve("deployment" + deployment)));
    }
    for (int attempt = 0; attempt < 40 && !areFree(loaders, before); attempt++) {
      System.gc();
      Thread.sleep(50);
    }
    assertThat(loaders).allMatch(loader -> loader.get() == null);
    assertThat(mappings()).isLessThanOrEqualTo(before);
  }

  private static boolean areFree(List<WeakReference<ClassLoader>> loaders, long before) {
    return loaders.stream().allMatch(loader -> loader.get() == null) && mappings() <= before;
  }

  /** Executable mappings of libraries whose file is gone, as that of an unpacked one is. */
  private static long mappings() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
      return lines
          .filter(line -> line.contains("fisher-kernels-") && line.contains("r-xp"))
          .count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The JVM takes a library's file once only, and each class loader needs one. */
  @Test
  void aLibraryThatIsNamedServesSeveralClassLoaders() throws Exception {
    Path jar = Path.of(Objects.requireNonNull(System.getProperty("fishermerge.embedded.jar")));
    Path library = folder.resolve("kernels.so");
    try (FileSystem files = FileSystems.newFileSystem(jar);
        Stream<Path> paths = Files.walk(files.getPath("/"))) {
      Files.copy(
          paths.filter(path -> path.endsWith("libfisher_kernels.so")).findFirst().orElseThrow(),
          library);
    }
    System.setProperty(KernelOptions.LIBRARY_PATH, library.toString());
    URL[] urls = {jar.toUri().toURL()};
    try (URLClassLoader one = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader());
        URLClassLoader two = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader())) {
      for (ClassLoader loader : List.of(one, two)) {
        Class<?> kernelsClass = loader.loadClass(Kernels.class.getName());
        try (AutoCloseable kernels = (AutoCloseable) kernelsClass.getMethod("open").invoke(null)) {
          assertThat(kernelsClass.getMethod("info").invoke(kernels).toString())
              .contains("provider=cpu", library.toString());
        }
      }
    } finally {
      System.clearProperty(KernelOptions.LIBRARY_PATH);
    }
  }

  private WeakReference<ClassLoader> mergeInItsOwnLoader(Path jar, Path output) throws Exception {
    try (URLClassLoader loader =
        new URLClassLoader(new URL[] {jar.toUri().toURL()}, ClassLoader.getPlatformClassLoader())) {
      Class<?> kernelsClass = loader.loadClass(Kernels.class.getName());
      assertThat(kernelsClass).isNotSameAs(Kernels.class);
      Class<?> requestClass = loader.loadClass(MergeRequest.class.getName());
      Class<?> ruleClass = loader.loadClass(MergeRule.class.getName());
      Object rule = loader.loadClass(Average.class.getName()).getConstructor().newInstance();
      Object builder =
          requestClass
              .getMethod("builder", Path.class, Path.class, ruleClass)
              .invoke(null, Golden.path("clip-tiny/pretrained"), output, rule);
      builder
          .getClass()
          .getMethod("model", Path.class)
          .invoke(builder, Golden.path("clip-tiny/alpha"));
      Object request = builder.getClass().getMethod("build").invoke(builder);
      Class<?> sessionClass = loader.loadClass(MergeSession.class.getName());
      Class<?> listenerClass = loader.loadClass(ProgressListener.class.getName());
      try (AutoCloseable kernels = (AutoCloseable) kernelsClass.getMethod("open").invoke(null);
          AutoCloseable session =
              (AutoCloseable) sessionClass.getMethod("open", requestClass).invoke(null, request)) {
        sessionClass
            .getMethod("run", kernelsClass, listenerClass)
            .invoke(session, kernels, listenerClass.getField("NONE").get(null));
      }
      assertThat(output.resolve("model.safetensors")).exists();
      return new WeakReference<>(loader);
    }
  }

  private Path fisher(String model) {
    return new SafetensorsBuilder()
        .extract(Golden.path("clip-tiny/expected.safetensors"), model + ".fisher.exact.")
        .write(folder.resolve(model + ".fisher.safetensors"));
  }
}
