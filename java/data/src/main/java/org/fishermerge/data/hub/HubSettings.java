package org.fishermerge.data.hub;

import java.io.IOException;
import java.net.ProxySelector;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/**
 * Where the hub and its cache are, and how patient to be.
 *
 * @param cache the folder that holds {@code models--...} and {@code datasets--...}
 * @param endpoint the hub, {@code http} or {@code https}, without a slash at the end
 * @param token sent to the endpoint and to nobody else; null for none
 * @param proxies between here and there; null for those of Java's own settings
 * @param offline whether to open no connection at all
 * @param timeout how long a connection may stay silent
 * @param retries how often in a row a request may fail before it is given up
 * @param backoff the wait after the first failure; it doubles with each
 * @param parallel files to download at the same time
 */
public record HubSettings(
    Path cache,
    URI endpoint,
    @Nullable String token,
    @Nullable ProxySelector proxies,
    boolean offline,
    Duration timeout,
    int retries,
    Duration backoff,
    int parallel) {
  private static final String PUBLIC_HUB = "https://huggingface.co";
  private static final Set<String> TRUE = Set.of("1", "ON", "YES", "TRUE");
  private static final Pattern TOKEN = Pattern.compile("[\\x21-\\x7e]+");

  /**
   * The settings that Python's {@code huggingface_hub} takes from the same environment: {@code
   * HF_HUB_CACHE}, {@code HF_HOME} (default {@code $XDG_CACHE_HOME/huggingface} or {@code
   * ~/.cache/huggingface}), {@code HF_ENDPOINT}, {@code HF_TOKEN} or the file {@code HF_TOKEN_PATH}
   * (default {@code $HF_HOME/token}), {@code HF_HUB_OFFLINE}, {@code HF_HUB_DOWNLOAD_TIMEOUT} in
   * seconds, and the proxies in {@code HTTPS_PROXY}, {@code HTTP_PROXY}, {@code ALL_PROXY} and
   * {@code NO_PROXY}.
   *
   * @throws InputException if one of them makes no sense
   */
  public static HubSettings from(Map<String, String> environment) {
    EnvironmentPaths paths = new EnvironmentPaths(environment);
    Path home =
        paths
            .of("HF_HOME")
            .orElseGet(() ->
                paths
                    .of("XDG_CACHE_HOME")
                    .orElseGet(() -> paths.home().resolve(".cache"))
                    .resolve("huggingface"));
    Path cache =
        paths
            .of("HF_HUB_CACHE")
            .or(() -> paths.of("HUGGINGFACE_HUB_CACHE"))
            .orElse(home.resolve("hub"));
    String offline = value(environment, "HF_HUB_OFFLINE");
    return new HubSettings(
        cache,
        endpoint(value(environment, "HF_ENDPOINT")),
        token(environment, paths.of("HF_TOKEN_PATH").orElse(home.resolve("token"))),
        Proxies.from(environment).orElse(null),
        isTrue(offline != null ? offline : value(environment, "TRANSFORMERS_OFFLINE")),
        timeout(value(environment, "HF_HUB_DOWNLOAD_TIMEOUT")),
        5,
        Duration.ofSeconds(1),
        4);
  }

  /** The same with other limits of patience, for tests and for scripts that rather fail soon. */
  public HubSettings withPatience(Duration newTimeout, int newRetries, Duration newBackoff) {
    return new HubSettings(
        cache, endpoint, token, proxies, offline, newTimeout, newRetries, newBackoff, parallel);
  }

  private static @Nullable String value(Map<String, String> environment, String name) {
    String value = environment.get(name);
    return value == null || value.isBlank() ? null : value.strip();
  }

  private static boolean isTrue(@Nullable String value) {
    return value != null && TRUE.contains(value.toUpperCase(Locale.ROOT));
  }

  private static URI endpoint(@Nullable String value) {
    String text = (value == null ? PUBLIC_HUB : value).replaceAll("/+$", "");
    try {
      URI uri = new URI(text);
      boolean web = "https".equals(uri.getScheme()) || "http".equals(uri.getScheme());
      if (web && uri.getHost() != null && uri.getQuery() == null && uri.getUserInfo() == null) {
        return uri;
      }
    } catch (URISyntaxException e) {
      // The message below says it all.
    }
    throw new InputException(
        "HF_ENDPOINT is '%s'; expected the address of a hub, such as %s"
            .formatted(text, PUBLIC_HUB));
  }

  private static @Nullable String token(Map<String, String> environment, Path file) {
    if (isTrue(value(environment, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
      return null;
    }
    for (String name : new String[] {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
      String token = value(environment, name);
      if (token != null) {
        return checked(token, name);
      }
    }
    try {
      String token = Files.readString(file).strip();
      return token.isEmpty() ? null : checked(token, file.toString());
    } catch (NoSuchFileException e) {
      return null;
    } catch (IOException e) {
      throw new InputException(
          file
              + ": the hub's token cannot be read: "
              + Reasons.of(e)
              + "; mend it, or set HF_TOKEN",
          e);
    }
  }

  /** Never quotes the token. */
  private static String checked(String token, String source) {
    if (!TOKEN.matcher(token).matches()) {
      throw new InputException(
          source + ": a token of the hub is one word, such as hf_...; this has other characters");
    }
    return token;
  }

  private static Duration timeout(@Nullable String seconds) {
    if (seconds == null) {
      return Duration.ofSeconds(30);
    }
    try {
      long value = Long.parseLong(seconds);
      if (value > 0 && value <= 86_400) {
        return Duration.ofSeconds(value);
      }
    } catch (NumberFormatException e) {
      // The message below says it all.
    }
    throw new InputException(
        "HF_HUB_DOWNLOAD_TIMEOUT is '%s'; expected a number of seconds".formatted(seconds));
  }

  /** Without the token. */
  @Override
  public String toString() {
    return "HubSettings[cache=%s, endpoint=%s, token=%s, offline=%s]"
        .formatted(cache, endpoint, token == null ? "none" : "given", offline);
  }
}
