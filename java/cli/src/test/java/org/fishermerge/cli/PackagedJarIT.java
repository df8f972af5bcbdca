package org.fishermerge.cli;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Set;
import org.fishermerge.testkit.JarRules;
import org.junit.jupiter.api.Test;

/** The program's own jar keeps the rules of those that are published. */
final class PackagedJarIT {
  @Test
  void hasItsOwnPackagesAndItsLicence() throws IOException {
    Path packaged = Path.of(Objects.requireNonNull(System.getProperty("fishermerge.packaged")));
    try (DirectoryStream<Path> jars =
        Files.newDirectoryStream(packaged.resolve("lib"), "fisher-merge-cli-*.jar")) {
      JarRules.check(jars.iterator().next(), "org.fishermerge.cli", Set.of("org.fishermerge.cli"));
    }
  }
}
