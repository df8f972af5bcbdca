package org.fishermerge.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The program in a process of its own: the packaged one, with its classes in a cache, where the
 * build has made it before (tests named IT), else from the class path.
 */
final class CommandProcess {
  /** The folder of the packaged program. */
  private static final Optional<Path> PACKAGED =
      Optional.ofNullable(System.getProperty("fishermerge.packaged")).map(Path::of);

  private CommandProcess() {}

  /** The start of a command line; the program's arguments follow. */
  static List<String> java(String... jvmOptions) {
    List<String> command = new ArrayList<>(virtualMachine());
    PACKAGED
        .map(CommandProcess::classCache)
        .ifPresent(cache -> command.add("-XX:AOTCache=" + cache));
    command.addAll(List.of(jvmOptions));
    command.addAll(program());
    return command;
  }

  private static List<String> virtualMachine() {
    return List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xlog:disable");
  }

  private static List<String> program() {
    return PACKAGED
        .map(folder -> List.of("-jar", jar(folder).toString()))
        .orElse(
            List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                Main.class.getName()));
  }

  private static Path jar(Path folder) {
    try (Stream<Path> libraries = Files.list(folder.resolve("lib"))) {
      return libraries
          .filter(file -> String.valueOf(file.getFileName()).startsWith("fisher-merge-cli-"))
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Made by the first caller of a build, since more than half of a short command is the loading and
   * linking of classes; other test JVMs wait for it.
   */
  private static Path classCache(Path folder) {
    Path cache = folder.resolveSibling("test-classes.aot");
    try (FileChannel lock =
        FileChannel.open(
            folder.resolveSibling("test-classes.lock"),
            StandardOpenOption.CREATE,
            StandardOpenOption.WRITE)) {
      lock.lock();
      Path jar = jar(folder);
      if (!Files.exists(cache)
          || Files.getLastModifiedTime(cache).compareTo(Files.getLastModifiedTime(jar)) < 0) {
        train(cache);
      }
      return cache;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void train(Path cache) throws IOException {
    Path fisher = Files.createTempFile("fisher", ".safetensors");
    List<String> command = new ArrayList<>(virtualMachine());
    command.add("-XX:AOTCacheOutput=" + cache);
    command.addAll(program());
    command.addAll(GoldenCommands.fisher("alpha", fisher, "--overwrite"));
    try {
      Process process =
          new ProcessBuilder(command)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      if (process.waitFor() != 0) {
        throw new IllegalStateException(command + " failed");
      }
    } catch (InterruptedException e) {
      throw new IOException("interrupted", e);
    } finally {
      Files.delete(fisher);
    }
  }
}
