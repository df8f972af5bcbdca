package org.fishermerge.consumers;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Enumeration;
import java.util.List;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.springframework.boot.loader.launch.JarLauncher;

/** An executable jar as Spring Boot's Maven plugin packs it: other jars are stored inside. */
final class BootJar {
  private BootJar() {}

  static Path write(Path file, Path classes, List<Path> libraries) throws Exception {
    Manifest manifest = new Manifest();
    Attributes main = manifest.getMainAttributes();
    main.put(Attributes.Name.MANIFEST_VERSION, "1.0");
    main.put(Attributes.Name.MAIN_CLASS, JarLauncher.class.getName());
    main.putValue("Start-Class", "com.example.App");
    main.putValue("Spring-Boot-Classes", "BOOT-INF/classes/");
    main.putValue("Spring-Boot-Lib", "BOOT-INF/lib/");
    main.putValue("Enable-Native-Access", "ALL-UNNAMED");
    Path loader =
        Path.of(JarLauncher.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    try (OutputStream out = Files.newOutputStream(file);
        JarOutputStream jar = new JarOutputStream(out, manifest);
        JarFile launcher = new JarFile(loader.toFile());
        Stream<Path> files = Files.walk(classes)) {
      for (Enumeration<JarEntry> entries = launcher.entries(); entries.hasMoreElements(); ) {
        JarEntry entry = entries.nextElement();
        if (entry.getName().endsWith(".class")) {
          store(jar, entry.getName(), launcher.getInputStream(entry).readAllBytes());
        }
      }
      for (String folder : List.of("BOOT-INF/", "BOOT-INF/classes/", "BOOT-INF/lib/")) {
        store(jar, folder, new byte[0]);
      }
      for (Path path : files.filter(Files::isRegularFile).toList()) {
        store(jar, "BOOT-INF/classes/" + classes.relativize(path), Files.readAllBytes(path));
      }
      for (Path library : libraries) {
        store(jar, "BOOT-INF/lib/" + library.getFileName(), Files.readAllBytes(library));
      }
    }
    return file;
  }

  private static void store(JarOutputStream jar, String name, byte[] bytes) throws IOException {
    JarEntry entry = new JarEntry(name);
    CRC32 crc = new CRC32();
    crc.update(bytes);
    entry.setMethod(JarEntry.STORED);
    entry.setSize(bytes.length);
    entry.setCrc(crc.getValue());
    jar.putNextEntry(entry);
    jar.write(bytes);
    jar.closeEntry();
  }
}
