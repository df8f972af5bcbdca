package org.fishermerge.data.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Paths in environment variables, as Python's {@code os.path.expandvars(os.path.expanduser(...))}
 * reads them: {@code ~} is {@code HOME} where that is set, as in containers and on clusters, and
 * else what the password file says.
 */
record EnvironmentPaths(Map<String, String> environment) {
  private static final Pattern VARIABLE = Pattern.compile("\\$(?:(\\w+)|\\{(\\w+)})");
  private static final Path PASSWORD_FILE = Path.of("/etc/passwd");
  private static final int HOME_FIELD = 5;

  /** The path that a variable holds; empty where it is not set, or blank. */
  Optional<Path> of(String name) {
    String value = environment.get(name);
    if (value == null || value.isBlank()) {
      return Optional.empty();
    }
    String stripped = value.strip();
    try {
      String expanded = withVariables(withHome(stripped, name));
      return Optional.of(Path.of(expanded));
    } catch (InvalidPathException e) {
      throw new InputException("%s is '%s', which is no path".formatted(name, stripped), e);
    }
  }

  /** The home folder of whoever runs this. */
  Path home() {
    return Path.of(withHome("~", "HOME"));
  }

  private String withVariables(String path) {
    return VARIABLE
        .matcher(path)
        .replaceAll(match -> {
          String variable = match.group(1) != null ? match.group(1) : match.group(2);
          return Matcher.quoteReplacement(environment.getOrDefault(variable, match.group()));
        });
  }

  private String withHome(String path, String name) {
    if (!path.startsWith("~")) {
      return path;
    }
    int slash = path.indexOf('/');
    String user = path.substring(1, slash < 0 ? path.length() : slash);
    String home = user.isEmpty() ? ownHome() : homeOf(user);
    if (home == null) {
      throw new InputException(
          user.isEmpty()
              ? "the home folder is not known, in which the hub's cache is; set HOME, or HF_HOME"
              : "%s is '%s', but %s has no user %s; write the folder out"
                  .formatted(name, path, PASSWORD_FILE, user));
    }
    String expanded = home.replaceAll("/+$", "") + (slash < 0 ? "" : path.substring(slash));
    return expanded.isEmpty() ? "/" : expanded;
  }

  private @Nullable String ownHome() {
    String home = environment.get("HOME");
    if (home != null) {
      return home;
    }
    // From the password file; "?" for a user whom it does not know.
    String known = System.getProperty("user.home");
    return known == null || !known.startsWith("/") ? null : known;
  }

  private static @Nullable String homeOf(String user) {
    try {
      for (String line : Files.readAllLines(PASSWORD_FILE)) {
        List<String> fields = List.of(line.split(":", -1));
        if (fields.size() > HOME_FIELD && fields.getFirst().equals(user)) {
          return fields.get(HOME_FIELD);
        }
      }
      return null;
    } catch (IOException e) {
      return null;
    }
  }
}
