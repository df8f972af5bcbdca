package org.fishermerge.consumers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/** What this build publishes, where it was built. */
final class Published {
  /** The root of the sources. */
  static final Path ROOT =
      Path.of(System.getProperty("basedir", ".")).resolve("../..").toAbsolutePath().normalize();

  static final String VERSION = Objects.requireNonNull(System.getProperty("published.version"));

  private Published() {}

  /** One artefact. */
  record Artefact(String name, Path module) {
    Path pom() {
      return module.resolve("target/.flattened-pom.xml");
    }

    /** The jar, which a pom alone has none of. */
    Path jar() {
      return module.resolve("target/%s-%s.jar".formatted(name, VERSION));
    }
  }

  /** All whose pom says that they are deployed, in the order of their names. */
  static List<Artefact> artefacts() {
    try (Stream<Path> modules = Files.list(ROOT.resolve("java"))) {
      return modules
          .filter(module -> Files.isRegularFile(module.resolve("pom.xml")))
          .filter(module ->
              read(module.resolve("pom.xml"))
                  .contains("<maven.deploy.skip>false</maven.deploy.skip>"))
          .map(module -> new Artefact("fisher-merge-" + module.getFileName(), module))
          .sorted((a, b) -> a.name().compareTo(b.name()))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Puts all of them into a local repository of Maven's. */
  static void install(Path repository) {
    for (Artefact artefact : artefacts()) {
      Path folder = repository.resolve("org/fishermerge/%s/%s".formatted(artefact.name(), VERSION));
      String name = artefact.name() + "-" + VERSION;
      try {
        Files.createDirectories(folder);
        Files.copy(artefact.pom(), folder.resolve(name + ".pom"));
        if (Files.exists(artefact.jar())) {
          Files.copy(artefact.jar(), folder.resolve(name + ".jar"));
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
