package org.fishermerge.testkit;

import java.io.IOException;
import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.nio.file.Path;
import java.util.Set;
import java.util.jar.JarFile;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.ZipEntry;

/** What every jar of ours must keep. */
public final class JarRules {
  /** A class for certain releases of Java is in the package that follows. */
  private static final Pattern RELEASE = Pattern.compile("META-INF/versions/\\d+/");

  private JarRules() {}

  /** The names of a jar's entries. */
  public static Set<String> names(Path jar) throws IOException {
    try (JarFile file = new JarFile(jar.toFile())) {
      return file.stream().map(ZipEntry::getName).collect(Collectors.toSet());
    }
  }

  /**
   * Checks that a jar has classes in the given packages, and packages below them, alone, is a
   * module of that name, and holds licence and notice.
   *
   * @throws AssertionError if it does not
   */
  public static void check(Path jar, String module, Set<String> packages) throws IOException {
    Set<String> names = names(jar);
    for (String name : names) {
      String path = RELEASE.matcher(name).replaceFirst("");
      if (path.endsWith(".class")
          && !name.equals("module-info.class")
          && packages.stream().noneMatch(own -> path.startsWith(own.replace('.', '/') + "/"))) {
        throw new AssertionError(jar + " has a class in a package that is not its own: " + name);
      }
    }
    if (names.stream().noneMatch(name -> name.endsWith(".class"))) {
      throw new AssertionError(jar + " has no class");
    }
    for (String name : Set.of("META-INF/LICENSE", "META-INF/NOTICE")) {
      if (!names.contains(name)) {
        throw new AssertionError(jar + " has no " + name);
      }
    }
    // Of a jar that describes no module, and names none, it is derived from the file's name.
    for (ModuleReference found : ModuleFinder.of(jar).findAll()) {
      if (!found.descriptor().name().equals(module)) {
        throw new AssertionError("%s is not module %s: %s".formatted(jar, module, found));
      }
    }
  }
}
