package org.fishermerge.data.hub;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.http.HttpClient;
import java.net.http.HttpHeaders;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.UnresolvedAddressException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.jspecify.annotations.Nullable;

/**
 * The hub's protocol. Redirects are followed by hand, so that the token goes to the hub's own
 * address only: large files come from other hosts, by URLs that are signed.
 */
final class HubHttp implements AutoCloseable {
  private static final int MAX_REDIRECTS = 10;

  /** No answer that is kept in memory is longer: a list of 100,000 files has about 20 MB. */
  private static final int MAX_TEXT_BYTES = 256 << 20;

  private final HubSettings settings;
  private final HttpClient client;

  HubHttp(HubSettings settings) {
    this.settings = settings;
    // HTTP/2 would put all downloads on one connection, and its flow control slows that one down.
    HttpClient.Builder builder =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(settings.timeout());
    if (settings.proxies() != null) {
      builder.proxy(settings.proxies());
    }
    this.client = builder.build();
  }

  /** Without waiting for requests that are under way. */
  @Override
  public void close() {
    client.shutdownNow();
  }

  /** An answer's status and headers, gathered over the redirects, and its body. */
  record Answer(int status, Headers headers, InputStream body) implements AutoCloseable {
    @Override
    public void close() throws IOException {
      body.close();
    }

    boolean succeeded() {
      return status >= 200 && status < 300;
    }

    /** Whether it may well be different a little later. */
    boolean isTransient() {
      return switch (status) {
        case 408, 429, 500, 502, 503, 504 -> true;
        default -> false;
      };
    }
  }

  /** Headers of the last answer, and those of the redirects that led to it, by lower-case name. */
  static final class Headers {
    private final Map<String, String> last = new HashMap<>();
    private final Map<String, String> any = new HashMap<>();

    private void add(HttpHeaders headers) {
      last.clear();
      headers
          .map()
          .forEach((name, values) -> {
            last.put(name.toLowerCase(Locale.ROOT), values.getLast());
            any.put(name.toLowerCase(Locale.ROOT), values.getLast());
          });
    }

    /** Of the last answer. */
    @Nullable String get(String name) {
      return last.get(name);
    }

    /** Of the last answer that has it, be it a redirect. */
    @Nullable String getAny(String name) {
      return any.get(name);
    }

    /** An entity tag without its quotes and its mark of weakness. */
    static @Nullable String tag(@Nullable String value) {
      if (value == null) {
        return null;
      }
      String strong = value.startsWith("W/") ? value.substring(2) : value;
      return strong.replaceAll("^\"|\"$", "");
    }

    /** How long to wait before the next request, in seconds, as the hub says it in two ways. */
    @Nullable Duration retryAfter() {
      OptionalLong seconds = number(get("retry-after"));
      if (seconds.isEmpty()) {
        // For example "api";r=0;t=55
        String limit = get("ratelimit");
        if (limit != null && limit.contains("r=0;")) {
          seconds = number(limit.replaceFirst(".*t=(\\d+).*", "$1"));
        }
      }
      return seconds.isPresent() ? Duration.ofSeconds(seconds.getAsLong()) : null;
    }

    static OptionalLong number(@Nullable String text) {
      if (text == null || !text.strip().matches("\\d{1,18}")) {
        return OptionalLong.empty();
      }
      return OptionalLong.of(Long.parseLong(text.strip()));
    }
  }

  URI endpoint() {
    return settings.endpoint();
  }

  /** A path below the endpoint. What is not fixed must have gone through {@link #escape}. */
  URI url(String escapedPath) {
    return URI.create(settings.endpoint() + "/" + escapedPath);
  }

  /** Where a file of a repository is. */
  URI fileUrl(Repository repository, String commit, String name) {
    return url(
        "%s%s/resolve/%s/%s"
            .formatted(
                repository.kind().urlPrefix,
                repository.id(),
                escape(commit),
                escape(name).replace("%2F", "/")));
  }

  /** The page of a repository for people. */
  String page(Repository repository) {
    return settings.endpoint() + "/" + repository.kind().urlPrefix + repository.id();
  }

  /** Percent-encodes all but letters, digits and {@code -._~}. */
  static String escape(String text) {
    StringBuilder out = new StringBuilder();
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      char c = (char) (b & 0xff);
      if (c < 0x80 && (Character.isLetterOrDigit(c) || "-._~".indexOf(c) >= 0)) {
        out.append(c);
      } else {
        out.append('%').append(String.format(Locale.ROOT, "%02X", (int) c));
      }
    }
    return out.toString();
  }

  /**
   * Asks once. A HEAD stays on the hub: a redirect to another host is its answer, because the hub's
   * headers describe the file and the other host's do not. (Unless they do not: then it is the hub
   * itself that has moved.)
   *
   * @throws IOException if there is no answer within the time
   */
  Answer ask(String method, URI url, Map<String, String> headers) throws IOException {
    Headers gathered = new Headers();
    URI at = url;
    for (int hops = 0; hops <= MAX_REDIRECTS; hops++) {
      HttpResponse<InputStream> response = send(request(method, at, headers));
      gathered.add(response.headers());
      Optional<String> location = response.headers().firstValue("location");
      if (response.statusCode() / 100 != 3 || location.isEmpty()) {
        return new Answer(response.statusCode(), gathered, response.body());
      }
      URI target = redirect(at, location.get());
      if (method.equals("HEAD")
          && !sameOrigin(target, at)
          && response.headers().firstValue("x-linked-etag").isPresent()) {
        return new Answer(200, gathered, response.body());
      }
      response.body().close();
      at = target;
    }
    throw new IOException("more than " + MAX_REDIRECTS + " redirects");
  }

  private HttpRequest request(String method, URI url, Map<String, String> headers) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(url)
            .method(method, HttpRequest.BodyPublishers.noBody())
            .timeout(settings.timeout())
            .header("User-Agent", "fisher-merge")
            // Sizes and ranges are then those of the file itself.
            .header("Accept-Encoding", "identity");
    headers.forEach(request::header);
    if (settings.token() != null && sameOrigin(url, settings.endpoint())) {
      request.header("Authorization", "Bearer " + settings.token());
    }
    return request.build();
  }

  private HttpResponse<InputStream> send(HttpRequest request) throws IOException {
    try {
      return client.send(request, ignored -> new TimedBody(settings.timeout()));
    } catch (InterruptedException e) {
      throw Interrupted.exception(e);
    }
  }

  /** Where a redirect leads; never from https to http. */
  static URI redirect(URI from, String location) throws IOException {
    URI target;
    try {
      target = from.resolve(new URI(escapeIllegal(location)));
    } catch (URISyntaxException e) {
      throw new IOException("redirected to something that is no address: " + location, e);
    }
    boolean downgraded = "https".equals(from.getScheme()) && !"https".equals(target.getScheme());
    if (downgraded || target.getHost() == null) {
      throw new IOException("redirected to " + origin(target) + ", which is not followed");
    }
    return target;
  }

  /** Signed URLs come with characters that URIs must not have. */
  private static String escapeIllegal(String location) {
    StringBuilder out = new StringBuilder();
    location
        .codePoints()
        .forEach(c -> {
          if (c <= ' ' || c >= 0x7f || "\"<>\\^`{|}".indexOf(c) >= 0) {
            out.append(escape(Character.toString(c)));
          } else {
            out.appendCodePoint(c);
          }
        });
    return out.toString();
  }

  static boolean sameOrigin(URI a, URI b) {
    return origin(a).equals(origin(b));
  }

  private static String origin(URI url) {
    int port = url.getPort();
    if (port < 0) {
      port = "https".equals(url.getScheme()) ? 443 : 80;
    }
    return (url.getScheme() + "://" + url.getHost() + ":" + port).toLowerCase(Locale.ROOT);
  }

  /** A text from the hub, with retries. Only a success is returned. */
  String text(URI url, Repository repository, Retries retries) {
    while (true) {
      try (Answer answer = ask("GET", url, Map.of())) {
        if (answer.succeeded()) {
          ByteArrayOutputStream text = new ByteArrayOutputStream();
          byte[] buffer = new byte[1 << 16];
          for (int n = answer.body().read(buffer); n >= 0; n = answer.body().read(buffer)) {
            text.write(buffer, 0, n);
            if (text.size() > MAX_TEXT_BYTES) {
              throw new InputException(url + ": the answer is far too long; check HF_ENDPOINT");
            }
          }
          return text.toString(StandardCharsets.UTF_8);
        }
        failed(answer, repository, null, retries);
      } catch (IOException e) {
        failed(e, retries);
      }
    }
  }

  /** What the hub says of a file without sending it, with retries. Only a success is returned. */
  Headers head(URI url, Repository repository, String name, Retries retries) {
    while (true) {
      try (Answer answer = ask("HEAD", url, Map.of())) {
        if (answer.succeeded()) {
          return answer.headers();
        }
        failed(answer, repository, name, retries);
      } catch (IOException e) {
        failed(e, retries);
      }
    }
  }

  /** Waits after a connection that failed, or throws what to tell the user. */
  void failed(IOException e, Retries retries) {
    String host = settings.endpoint().getHost();
    String advice =
        "check the network, the proxy and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use only what is"
            + " in the cache";
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof UnresolvedAddressException) {
        // Asking again would not help.
        throw new HubUnreachableException("there is no host " + host + "; " + advice, e);
      }
    }
    String reason = Reasons.of(e);
    String problem =
        e instanceof ConnectException
            ? "cannot connect to " + settings.endpoint()
            : "the connection to %s failed: %s".formatted(host, reason);
    retries.failed(problem, e, null, advice);
  }

  /**
   * Waits after an answer that is no success, or throws what to tell the user.
   *
   * @param name the file that was asked for; null if it was the repository
   */
  void failed(Answer answer, Repository repository, @Nullable String name, Retries retries) {
    String what = name == null ? repository.toString() : name + " of " + repository;
    if (answer.isTransient()) {
      boolean limited = answer.status() == 429;
      retries.failed(
          "%s: the hub %s"
              .formatted(
                  what,
                  limited ? "limits our requests (429)" : "answers with error " + answer.status()),
          null,
          answer.headers().retryAfter(),
          limited && settings.token() == null
              ? "try again later; with a token (HF_TOKEN) the limit is higher"
              : "try again later, or set HF_HUB_OFFLINE=1 to use only what is in the cache");
      return;
    }
    throw refusal(answer, repository, name, what);
  }

  private InputException refusal(
      Answer answer, Repository repository, @Nullable String name, String what) {
    String code = answer.headers().get("x-error-code");
    String said = answer.headers().get("x-error-message");
    String page = page(repository);
    if ("GatedRepo".equals(code)) {
      return new InputException(
          "%s: its owner asks for consent to terms: give it at %s, then set HF_TOKEN to a token of"
                  .formatted(what, page)
              + " that account"
              + (settings.token() == null ? "" : " (the present one has no access)"));
    }
    if ("RevisionNotFound".equals(code)) {
      return new InputException(
          "%s: there is no such revision; see the branches and tags at %s"
              .formatted(what, page + "/tree/main"));
    }
    if ("EntryNotFound".equals(code)) {
      return new InputException("%s: there is no such file; see %s".formatted(what, page));
    }
    return switch (answer.status()) {
      case 401 ->
          new InputException(
              settings.token() == null
                  ? "%s: there is no such repository, or it is private; check the id at %s, or set"
                          .formatted(what, page)
                      + " HF_TOKEN to a token that has access"
                  : "%s: there is no such repository, or the token (HF_TOKEN) is not valid for it;"
                          .formatted(what)
                      + " check "
                      + page);
      case 403 ->
          new InputException(
              "%s: access is refused%s; see %s, and give HF_TOKEN a token that may read it"
                  .formatted(what, said == null ? "" : " (" + said + ")", page));
      case 404 ->
          new InputException(
              name != null
                  ? "%s: there is no such file; see %s".formatted(what, page)
                  : "%s: there is no such repository or revision; check %s%s"
                      .formatted(
                          what,
                          page,
                          settings.token() == null
                              ? ", and set HF_TOKEN if it is private"
                              : ", and whether the token (HF_TOKEN) may read it"));
      default ->
          new InputException(
              "%s: the hub at %s answers with status %d%s; check HF_ENDPOINT"
                  .formatted(
                      what,
                      settings.endpoint(),
                      answer.status(),
                      said == null ? "" : " (" + said + ")"));
    };
  }
}
