import java.io.IOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassFile.ClassHierarchyResolverOption;
import java.lang.classfile.ClassFile.StackMapsOption;
import java.lang.classfile.ClassFileVersion;
import java.lang.classfile.ClassHierarchyResolver;
import java.lang.classfile.ClassModel;
import java.lang.classfile.ClassTransform;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Enumeration;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Rewrites the classes of a jar that are in a format before Java 7's. The JVM's cache of loaded
 * classes (JEP 483) leaves such classes out, and its old verifier infers what newer classes state:
 * with picocli's in that format every command starts 0.1 s later. Names, code and everything else
 * of the jar stay as they are.
 */
final class ModernClasses {
  private ModernClasses() {}

  /** Arguments: the jar, which is replaced. */
  public static void main(String[] args) throws IOException {
    Path jar = Path.of(args[0]);
    Path rewritten = jar.resolveSibling(jar.getFileName() + ".part");
    int count = 0;
    try (URLClassLoader loader = new URLClassLoader(new URL[] {jar.toUri().toURL()});
        ZipFile in = new ZipFile(jar.toFile());
        ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(rewritten))) {
      ClassFile format =
          ClassFile.of(
              StackMapsOption.GENERATE_STACK_MAPS,
              ClassHierarchyResolverOption.of(ClassHierarchyResolver.ofClassLoading(loader)));
      for (Enumeration<? extends ZipEntry> e = in.entries(); e.hasMoreElements(); ) {
        ZipEntry entry = e.nextElement();
        byte[] bytes = in.getInputStream(entry).readAllBytes();
        if (entry.getName().endsWith(".class")) {
          ClassModel old = format.parse(bytes);
          if (old.majorVersion() < ClassFile.JAVA_7_VERSION) {
            bytes = format.transformClass(old, VERSION.andThen(REBUILT));
            count++;
          }
        }
        put(out, entry.getName(), entry.getTime(), bytes);
      }
      if (count > 0) {
        String notice =
            count
                + " classes of this jar were converted to the class file format of Java 7 by"
                + " fisher-merge. Nothing else was changed.\n";
        put(out, "META-INF/CHANGED-BY-FISHER-MERGE", 0, notice.getBytes(StandardCharsets.UTF_8));
      }
    }
    Files.move(rewritten, jar, StandardCopyOption.REPLACE_EXISTING);
    System.out.println(jar.getFileName() + ": " + count + " classes converted");
  }

  private static final ClassTransform VERSION =
      (to, element) -> {
        if (element instanceof ClassFileVersion) {
          to.withVersion(ClassFile.JAVA_7_VERSION, 0);
        } else {
          to.with(element);
        }
      };

  /** Instruction by instruction: code that is passed on as a whole keeps its lack of stack maps. */
  private static final ClassTransform REBUILT =
      ClassTransform.transformingMethodBodies((to, instruction) -> to.with(instruction));

  private static void put(ZipOutputStream out, String name, long time, byte[] bytes)
      throws IOException {
    ZipEntry entry = new ZipEntry(name);
    entry.setTime(time);
    out.putNextEntry(entry);
    out.write(bytes);
    out.closeEntry();
  }
}
