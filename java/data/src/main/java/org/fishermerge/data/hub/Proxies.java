package org.fishermerge.data.hub;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * The proxies that the environment names, as other tools read it: {@code HTTPS_PROXY}, {@code
 * HTTP_PROXY}, {@code ALL_PROXY} for the rest, and {@code NO_PROXY} for hosts that need none, all
 * also in small letters, which go first.
 */
final class Proxies extends ProxySelector {
  private static final List<Proxy> DIRECT = List.of(Proxy.NO_PROXY);

  /** By scheme. */
  private final Map<String, Proxy> proxies;

  private final List<String> without;

  private Proxies(Map<String, Proxy> proxies, List<String> without) {
    this.proxies = proxies;
    this.without = without;
  }

  /**
   * Empty if the environment names none, so that Java's own settings hold.
   *
   * @throws InputException if one makes no sense
   */
  static Optional<ProxySelector> from(Map<String, String> environment) {
    Map<String, Proxy> proxies = new TreeMap<>();
    for (String scheme : List.of("http", "https")) {
      for (String name : List.of(scheme + "_proxy", "all_proxy")) {
        Optional<String> variable = variable(environment, name);
        if (variable.isPresent()) {
          proxies.put(scheme, proxy(variable.get(), environment.get(variable.get())));
          break;
        }
      }
    }
    List<String> without =
        variable(environment, "no_proxy").map(environment::get).stream()
            .flatMap(value -> Stream.of(value.split(",", -1)))
            .map(host -> host.strip().toLowerCase(Locale.ROOT).replaceFirst("^\\*?\\.", ""))
            .filter(host -> !host.isEmpty())
            .toList();
    return proxies.isEmpty() ? Optional.empty() : Optional.of(new Proxies(proxies, without));
  }

  private static Optional<String> variable(Map<String, String> environment, String name) {
    return Stream.of(name, name.toUpperCase(Locale.ROOT))
        .filter(spelling -> !environment.getOrDefault(spelling, "").isBlank())
        .findFirst();
  }

  private static Proxy proxy(String variable, @Nullable String value) {
    String text = value == null ? "" : value.strip();
    try {
      URI uri = new URI(text.contains("://") ? text : "http://" + text);
      if (uri.getUserInfo() != null) {
        // The value is not quoted: it holds a password.
        throw new InputException(
            variable
                + " holds a user's name; proxies that ask for one are not supported. Download with"
                + " another tool into the same cache, and set HF_HUB_OFFLINE=1");
      }
      if (uri.getHost() != null && "http".equals(uri.getScheme())) {
        int port = uri.getPort() < 0 ? 80 : uri.getPort();
        return new Proxy(Proxy.Type.HTTP, InetSocketAddress.createUnresolved(uri.getHost(), port));
      }
    } catch (URISyntaxException e) {
      // The message below says it all.
    }
    throw new InputException(
        "%s is '%s'; expected the address of an HTTP proxy, such as http://proxy.example:3128"
            .formatted(variable, text));
  }

  @Override
  public List<Proxy> select(URI uri) {
    Proxy proxy = proxies.get(uri.getScheme());
    String host = String.valueOf(uri.getHost()).toLowerCase(Locale.ROOT);
    boolean direct =
        without.stream()
            .anyMatch(name ->
                name.equals("*")
                    || host.equals(name)
                    || host.endsWith("." + name)
                    || (host + ":" + uri.getPort()).equals(name));
    return proxy == null || direct ? DIRECT : List.of(proxy);
  }

  @Override
  public void connectFailed(URI uri, SocketAddress address, IOException e) {
    // The request fails, which says it.
  }
}
