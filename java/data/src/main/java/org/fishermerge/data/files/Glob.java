package org.fishermerge.data.files;

import java.util.regex.Pattern;

/**
 * The patterns of data set cards: {@code *} and {@code ?} within one folder, {@code **} through any
 * number of them, {@code [abc]}, {@code [!abc]}.
 */
final class Glob {
  private Glob() {}

  static Pattern compile(String glob) {
    String text = glob.startsWith("./") ? glob.substring(2) : glob;
    StringBuilder regex = new StringBuilder();
    int i = 0;
    while (i < text.length()) {
      char c = text.charAt(i);
      int bracket = c == '[' ? text.indexOf(']', i + 2) : -1;
      if (text.startsWith("**/", i)) {
        regex.append("(?:.*/)?");
        i += 3;
      } else if (text.startsWith("**", i)) {
        regex.append(".*");
        i += 2;
      } else if (c == '*') {
        regex.append("[^/]*");
        i++;
      } else if (c == '?') {
        regex.append("[^/]");
        i++;
      } else if (bracket > 0) {
        String members = text.substring(i + 1, bracket);
        boolean negated = members.startsWith("!");
        regex
            .append(negated ? "[^" : "[")
            .append(
                (negated ? members.substring(1) : members).replaceAll("[\\[\\]\\\\^&]", "\\\\$0"))
            .append(']');
        i = bracket + 1;
      } else {
        regex.append(Pattern.quote(String.valueOf(c)));
        i++;
      }
    }
    return Pattern.compile(regex.toString());
  }
}
