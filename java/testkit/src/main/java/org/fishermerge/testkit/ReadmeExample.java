package org.fishermerge.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Java in the README that is quoted from a class which tests run. */
public final class ReadmeExample {
  private static final String BEGIN = "// example-begin\n";
  private static final String END = "// example-end";

  private ReadmeExample() {}

  /**
   * The lines between {@code // example-begin} and {@code // example-end} of a Java source, as the
   * README shows them.
   *
   * @param source below the folder of the module under test
   * @throws AssertionError if the README does not quote them
   */
  public static String quoted(String source) {
    Path module = Path.of(System.getProperty("basedir", "."));
    try {
      String text = Files.readString(module.resolve(source));
      int begin = text.indexOf(BEGIN) + BEGIN.length();
      String lines =
          text.substring(begin, text.lastIndexOf('\n', text.indexOf(END)) + 1)
              .stripTrailing()
              .stripIndent();
      if (!Files.readString(module.resolve("../../README.md"))
          .contains("```java\n" + lines + "\n```")) {
        throw new AssertionError("README.md does not quote " + source + ":\n" + lines);
      }
      return lines;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
