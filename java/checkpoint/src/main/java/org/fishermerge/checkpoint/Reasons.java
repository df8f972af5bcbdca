package org.fishermerge.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.NoSuchFileException;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Why something failed, in words for whoever uses the program. What the system and the libraries
 * below say of it is written for programmers: names of classes and advice on settings of the
 * library are left out.
 */
public final class Reasons {
  private static final Pattern CLASS_NAME =
      Pattern.compile("\\b(?:[a-z][a-z0-9_]*\\.)+[A-Z][\\w$]*(?:: ?)?");

  /** A library's names of its settings, with the remark that they are in. */
  private static final Pattern ADVICE =
      Pattern.compile(
          "\\s*[:;,(]?[^:;,(]*\\b(?:\\w*Feature|StreamRead\\w*|classpath|dependency)\\b.*");

  private static final Pattern QUOTED_CHARACTER =
      Pattern.compile("^Unexpected character \\('(.)' .*");
  private static final Pattern QUOTED_WORD = Pattern.compile("^Unrecognized token '(.*?)'.*");
  private static final Pattern DUPLICATE = Pattern.compile("^Duplicate [Ff]ield '(.*)'.*");
  private static final Pattern PLACE = Pattern.compile("line: (\\d+), column: (\\d+)");

  private Reasons() {}

  /** Why, without the name of the file, which the caller's message gives; never empty. */
  public static String of(Throwable e) {
    return switch (e) {
      case NoSuchFileException missing -> "no such file or folder";
      case AccessDeniedException denied -> "permission denied";
      case FileAlreadyExistsException taken -> "it exists already";
      case DirectoryNotEmptyException full -> "the folder is not empty";
      case FileSystemLoopException loop -> "a link in it leads back to a folder above it";
      case FileSystemException system when system.getReason() != null -> system.getReason();
      case CharacterCodingException coding -> "it is not valid UTF-8";
      case EOFException end -> "it ends too early";
      case JsonProcessingException json -> ofJson(json);
      case StackOverflowError deep -> "it is nested too deep";
      case OutOfMemoryError memory -> "it asks for more memory than there is";
      default -> {
        String plain = plain(Messages.firstLine(String.valueOf(e.getMessage())));
        yield e.getMessage() != null && !plain.isEmpty()
            ? plain
            : e instanceof IOException ? "the system reports an error" : "it is damaged";
      }
    };
  }

  /** A library's words without its names. */
  private static String plain(String text) {
    String without = CLASS_NAME.matcher(text).replaceAll("");
    return ADVICE.matcher(without).replaceAll("").strip();
  }

  /** What is wrong with a JSON text and where, in one line. */
  static String ofJson(JsonProcessingException e) {
    String problem = jsonProblem(Messages.firstLine(String.valueOf(e.getOriginalMessage())));
    return e.getLocation() == null
        ? problem
        : String.format(
            Locale.ROOT,
            "%s, at line %d, column %d",
            problem,
            e.getLocation().getLineNr(),
            e.getLocation().getColumnNr());
  }

  /** The parser's own words name its settings, and places of a source that it does not show. */
  private static String jsonProblem(String text) {
    Matcher character = QUOTED_CHARACTER.matcher(text);
    if (character.matches()) {
      return "unexpected character " + Messages.quote(character.group(1));
    }
    Matcher word = QUOTED_WORD.matcher(text);
    if (word.matches()) {
      return "unexpected word " + Messages.quote(word.group(1));
    }
    Matcher twice = DUPLICATE.matcher(text);
    if (twice.matches()) {
      return "duplicate key " + Messages.quote(twice.group(1));
    }
    if (text.startsWith("Unexpected end-of-input")) {
      Matcher start = PLACE.matcher(text);
      return "it ends in the middle"
          + (start.find()
              ? " of what begins at line " + start.group(1) + ", column " + start.group(2)
              : "");
    }
    if (text.startsWith("Trailing token")) {
      return "there is more after its end";
    }
    if (text.contains("CTRL-CHAR")) {
      return "a control character where none may be";
    }
    if (text.startsWith("Invalid numeric value") || text.startsWith("Invalid number")) {
      return "a number is not written as JSON has it";
    }
    if (text.contains("nesting depth")) {
      return "it is nested too deep";
    }
    if (text.contains("exceeds the maximum")) {
      return "a name, number or text in it is too long";
    }
    if (text.startsWith("Unrecognized character escape")) {
      return "an escape in a text is none of JSON's";
    }
    String plain = plain(text);
    return plain.isEmpty() ? "it is malformed" : plain;
  }
}
