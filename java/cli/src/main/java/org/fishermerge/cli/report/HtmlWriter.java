package org.fishermerge.cli.report;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Locale;

/**
 * Writes HTML. Whatever it is given as text or as the value of an attribute appears as text: markup
 * is escaped, control characters are shown as the pictures that Unicode has for them, and so are
 * those that would turn the direction of what follows.
 */
final class HtmlWriter {
  // Letters of some scripts, and some pictures, need them.
  private static final int ZERO_WIDTH_NON_JOINER = 0x200c;
  private static final int ZERO_WIDTH_JOINER = 0x200d;

  private final StringBuilder html = new StringBuilder();
  private final Deque<String> open = new ArrayDeque<>();

  /** Begins an element; attributes by name and value. */
  HtmlWriter open(String element, String... attributes) {
    tag(element, attributes);
    open.push(element);
    return this;
  }

  /** An element without content. */
  HtmlWriter tag(String element, String... attributes) {
    html.append('<').append(element);
    for (int i = 0; i < attributes.length; i += 2) {
      html.append(' ').append(attributes[i]).append("=\"");
      escape(attributes[i + 1]);
      html.append('"');
    }
    html.append('>');
    return this;
  }

  /** Ends the element that was begun last. */
  HtmlWriter close() {
    html.append("</").append(open.pop()).append('>');
    return this;
  }

  /** An element that holds text. */
  HtmlWriter element(String element, String text, String... attributes) {
    return open(element, attributes).text(text).close();
  }

  HtmlWriter text(String text) {
    escape(text);
    return this;
  }

  /** A stranger's name: its direction changes nothing around it. */
  HtmlWriter name(String text) {
    return element("bdi", text);
  }

  /** Our own scripts and styles. */
  HtmlWriter raw(String trusted) {
    html.append(trusted);
    return this;
  }

  HtmlWriter line() {
    html.append('\n');
    return this;
  }

  private void escape(String text) {
    if (isPlain(text)) {
      html.append(text);
      return;
    }
    text.codePoints()
        .forEach(c -> {
          switch (c) {
            case '<' -> html.append("&lt;");
            case '>' -> html.append("&gt;");
            case '&' -> html.append("&amp;");
            case '"' -> html.append("&quot;");
            case '\'' -> html.append("&#39;");
            default -> html.append(visible(c));
          }
        });
  }

  /** Most texts; the others take longer. */
  private static boolean isPlain(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c < ' ' || c > '~' || "<>&\"'".indexOf(c) >= 0) {
        return false;
      }
    }
    return true;
  }

  /** Text without anything that is not seen: what the page and its figures show of a name. */
  static String visible(String text) {
    if (isPlain(text)) {
      return text;
    }
    StringBuilder seen = new StringBuilder();
    text.codePoints().forEach(c -> seen.append(visible(c)));
    return seen.toString();
  }

  private static String visible(int c) {
    if (c < 0x20) {
      return Character.toString(0x2400 + c);
    }
    if (c == 0x7f) {
      return "\u2421";
    }
    boolean hidden =
        switch (Character.getType(c)) {
          case Character.FORMAT -> c != ZERO_WIDTH_NON_JOINER && c != ZERO_WIDTH_JOINER;
          case Character.CONTROL,
              Character.SURROGATE,
              Character.LINE_SEPARATOR,
              Character.PARAGRAPH_SEPARATOR ->
              true;
          default -> false;
        };
    return hidden ? String.format(Locale.ROOT, "\\u%04x", c) : Character.toString(c);
  }

  @Override
  public String toString() {
    if (!open.isEmpty()) {
      throw new IllegalStateException("still open: " + open);
    }
    return html.toString();
  }
}
