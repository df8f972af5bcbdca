package org.fishermerge.testkit;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * A Hugging Face hub on the loopback interface that serves folders, well or badly.
 *
 * <pre>{@code
 * try (TestHub hub = TestHub.start()) {
 *   hub.repository(TestHub.Kind.MODEL, "org/name", folder);
 *   hub.fail(TestHub.Fault.STALL, "model.safetensors", 1);
 *   ... HF_ENDPOINT=hub.endpoint() ...
 *   hub.requests()
 * }
 * }</pre>
 *
 * <p>As on the real one, files in Git LFS (by suffix) are redirected to another host, here {@code
 * localhost} at another port, which refuses requests that carry a token. A folder is one commit,
 * whose hash depends on its files; it is read anew at each request.
 */
public final class TestHub implements AutoCloseable {
  /** What a repository holds. */
  public enum Kind {
    MODEL("models", ""),
    DATASET("datasets", "datasets/");

    private final String plural;
    private final String urlPrefix;

    Kind(String plural, String urlPrefix) {
      this.plural = plural;
      this.urlPrefix = urlPrefix;
    }
  }

  /** A way to go wrong. Those that concern content happen to GETs only. */
  public enum Fault {
    /** The whole file, with status 200, although a part of it was asked for. */
    IGNORE_RANGE,
    /** Half of what was announced by Content-Length, then the connection closes. */
    SHORT_BODY,
    /** Half of it, without Content-Length, as if it were all. */
    SHORT_WITHOUT_LENGTH,
    /** As many bytes as there should be, but not those. */
    WRONG_BYTES,
    /** One byte more than announced by the HEAD. */
    TOO_LONG,
    /** Of the whole file, the first half with status 200, whatever part was asked for. */
    STUCK,
    /** Half of it, then nothing until the hub is closed. */
    STALL,
    /** Half of it, and the rest after {@link TestHub#proceed}. */
    SLOW,
    /** All of it, without Content-Length, neither for HEAD nor for GET. */
    NO_LENGTH,
    /** Compressed, although that was not asked for. */
    GZIP,
    /** Another entity tag than the HEAD had, on the hub itself. */
    OTHER_TAG,
    /** 401 without a reason. */
    UNAUTHORIZED,
    /** 403 with the code GatedRepo. */
    GATED,
    /** 404 without a reason. */
    NOT_FOUND,
    /** 429 with Retry-After: 7. */
    TOO_MANY_REQUESTS,
    /** 503. */
    UNAVAILABLE,
    /** 418, which means nothing here. */
    STRANGE;

    private boolean isContent() {
      return ordinal() <= OTHER_TAG.ordinal();
    }
  }

  /**
   * A request that came in.
   *
   * @param storage whether it came to the second host
   * @param method HEAD or GET
   * @param path with the query, as it was sent
   * @param headers by lower-case name
   */
  public record Request(boolean storage, String method, String path, Map<String, String> headers) {}

  private record Key(Kind kind, String id, String revision) {}

  private static final class Failure {
    private final Fault fault;
    private final String suffix;
    private int times;

    private Failure(Fault fault, String suffix, int times) {
      this.fault = fault;
      this.suffix = suffix;
      this.times = times;
    }
  }

  private static final List<String> LFS_SUFFIXES =
      List.of(".safetensors", ".parquet", ".bin", ".pt", ".h5", ".msgpack", ".onnx");

  /** Every request needs the hashes of all files of its repository. */
  private static final Map<FileState, String> SHA256 = new ConcurrentHashMap<>();

  private final HttpServer server;
  private final HttpServer storage;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final CountDownLatch proceed = new CountDownLatch(1);
  private final Map<Key, Path> folders = new ConcurrentHashMap<>();
  private final Map<String, String> tokens = new ConcurrentHashMap<>();
  private final Map<String, String> renamed = new ConcurrentHashMap<>();
  private final Map<String, Path> stored = new ConcurrentHashMap<>();
  private final List<Request> requests = new CopyOnWriteArrayList<>();
  private final List<Failure> failures = new ArrayList<>();

  private TestHub() throws IOException {
    InetAddress loopback = InetAddress.getLoopbackAddress();
    server = HttpServer.create(new InetSocketAddress(loopback, 0), 0);
    storage = HttpServer.create(new InetSocketAddress(loopback, 0), 0);
    server.createContext("/", exchange -> serve(exchange, false));
    storage.createContext("/", exchange -> serve(exchange, true));
    for (HttpServer one : List.of(server, storage)) {
      one.setExecutor(threads);
      one.start();
    }
  }

  /** A hub without repositories. */
  public static TestHub start() {
    try {
      return new TestHub();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Ends all connections, stalled ones too. */
  @Override
  public void close() {
    closed.countDown();
    server.stop(0);
    storage.stop(0);
    threads.shutdownNow();
  }

  /** For {@code HF_ENDPOINT}. */
  public String endpoint() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  /** Serves a folder as branch {@code main} of a repository. */
  public void repository(Kind kind, String id, Path folder) {
    repository(kind, id, "main", folder);
  }

  /** Serves a folder as any revision of a repository. */
  public void repository(Kind kind, String id, String revision, Path folder) {
    folders.put(new Key(kind, id, revision), folder);
  }

  /** Requests for a repository must carry this token from now on. */
  public void requireToken(String id, String token) {
    tokens.put(id, token);
  }

  /** Requests for one id are redirected, on the same host, to another. */
  public void rename(String from, String to) {
    renamed.put(from, to);
  }

  /**
   * The next requests whose path ends so go wrong; the empty suffix is any.
   *
   * @param pathSuffix for files their name; for descriptions of a repository {@code /revision/main}
   */
  public void fail(Fault fault, String pathSuffix, int times) {
    synchronized (failures) {
      failures.add(new Failure(fault, pathSuffix, times));
    }
  }

  /** Lets the requests go on that {@link Fault#SLOW} holds up. */
  public void proceed() {
    proceed.countDown();
  }

  /** All requests so far, in order. */
  public List<Request> requests() {
    return List.copyOf(requests);
  }

  /** Requests of one method, for paths that end so, to either host. */
  public List<Request> requests(String method, String pathSuffix) {
    return requests.stream()
        .filter(request ->
            request.method().equals(method)
                && request.path().replaceAll("\\?.*", "").endsWith(pathSuffix))
        .toList();
  }

  /** Forgets the requests so far. */
  public void forget() {
    requests.clear();
  }

  /** The commit that a folder is. */
  public static String commit(Path folder) {
    StringBuilder all = new StringBuilder();
    files(folder).forEach((name, file) -> all.append(name).append(' ').append(sha256(file)));
    return gitBlob(all.toString().getBytes(StandardCharsets.UTF_8));
  }

  /** The entity tag of a file: its SHA-256 if it is in Git LFS, else its Git blob id. */
  public static String tag(Path file) {
    return isLfs(file.toString()) ? sha256(file) : gitBlob(read(file));
  }

  /** A file as it is now. */
  private record FileState(Path file, Object key, FileTime modified, long size) {
    static FileState of(Path file) {
      try {
        BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
        return new FileState(
            file, String.valueOf(now.fileKey()), now.lastModifiedTime(), now.size());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  private static String sha256(Path file) {
    return SHA256.computeIfAbsent(
        FileState.of(file),
        state -> HexFormat.of().formatHex(digest("SHA-256").digest(read(file))));
  }

  private static String gitBlob(byte[] content) {
    MessageDigest sha1 = digest("SHA-1");
    sha1.update(
        String.format(Locale.ROOT, "blob %d\0", content.length)
            .getBytes(StandardCharsets.US_ASCII));
    return HexFormat.of().formatHex(sha1.digest(content));
  }

  private static MessageDigest digest(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  private static boolean isLfs(String name) {
    return LFS_SUFFIXES.stream().anyMatch(name::endsWith);
  }

  private static byte[] read(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static SortedMap<String, Path> files(Path folder) {
    try (Stream<Path> paths = Files.walk(folder)) {
      return paths
          .filter(Files::isRegularFile)
          .collect(
              Collectors.toMap(
                  file -> folder.relativize(file).toString(),
                  file -> file,
                  (a, b) -> a,
                  TreeMap::new));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private @Nullable Fault fault(String path, boolean contentIsServed) {
    synchronized (failures) {
      for (Failure failure : failures) {
        if (failure.times > 0
            && path.endsWith(failure.suffix)
            && (contentIsServed || !failure.fault.isContent())) {
          failure.times--;
          return failure.fault;
        }
      }
      return null;
    }
  }

  private void serve(HttpExchange exchange, boolean isStorage) throws IOException {
    try (exchange) {
      Map<String, String> headers = new HashMap<>();
      exchange
          .getRequestHeaders()
          .forEach((name, values) -> headers.put(name.toLowerCase(Locale.ROOT), values.getFirst()));
      String method = exchange.getRequestMethod();
      String path = exchange.getRequestURI().getRawPath();
      requests.add(
          new Request(isStorage, method, exchange.getRequestURI().toString(), Map.copyOf(headers)));
      if (isStorage) {
        serveStorage(exchange, path, headers);
      } else {
        serveHub(exchange, path, headers);
      }
    }
  }

  private void serveStorage(HttpExchange exchange, String path, Map<String, String> headers)
      throws IOException {
    // Storage takes signed URLs or tokens, not both.
    Path file = stored.get(path);
    if (file == null || headers.containsKey("authorization")) {
      status(exchange, file == null ? 404 : 400, null);
      return;
    }
    exchange.getResponseHeaders().set("ETag", "\"0123456789abcdef0123456789abcdef-7\"");
    Fault fault = fault(path, true);
    if (fault != null && !fault.isContent()) {
      refuse(exchange, fault);
      return;
    }
    content(exchange, file, fault, headers);
  }

  private void serveHub(HttpExchange exchange, String path, Map<String, String> headers)
      throws IOException {
    for (Map.Entry<String, String> name : renamed.entrySet()) {
      if (path.contains("/" + name.getKey() + "/")) {
        exchange
            .getResponseHeaders()
            .set(
                "Location",
                exchange
                    .getRequestURI()
                    .toString()
                    .replace("/" + name.getKey() + "/", "/" + name.getValue() + "/"));
        status(exchange, 307, null);
        return;
      }
    }
    Fault fault = fault(path, false);
    if (fault != null) {
      refuse(exchange, fault);
      return;
    }
    for (Kind kind : Kind.values()) {
      String api = "/api/" + kind.plural + "/";
      if (path.startsWith(api)) {
        describe(exchange, kind, path.substring(api.length()), headers);
        return;
      }
    }
    Kind kind = path.startsWith("/datasets/") ? Kind.DATASET : Kind.MODEL;
    String rest = path.substring(1 + kind.urlPrefix.length());
    int resolve = rest.indexOf("/resolve/");
    int slash = resolve < 0 ? -1 : rest.indexOf('/', resolve + 9);
    if (slash < 0) {
      status(exchange, 404, null);
      return;
    }
    resolve(
        exchange,
        kind,
        rest.substring(0, resolve),
        decode(rest.substring(resolve + 9, slash)),
        decode(rest.substring(slash + 1)),
        headers);
  }

  private static String decode(String text) {
    return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
  }

  private static void refuse(HttpExchange exchange, Fault fault) throws IOException {
    switch (fault) {
      case UNAUTHORIZED -> status(exchange, 401, null);
      case GATED -> status(exchange, 403, "GatedRepo");
      case NOT_FOUND -> status(exchange, 404, null);
      case TOO_MANY_REQUESTS -> {
        exchange.getResponseHeaders().set("Retry-After", "7");
        status(exchange, 429, null);
      }
      case UNAVAILABLE -> status(exchange, 503, null);
      case STRANGE -> status(exchange, 418, null);
      default -> throw new IllegalArgumentException(fault.toString());
    }
  }

  private static void status(HttpExchange exchange, int status, @Nullable String code)
      throws IOException {
    if (code != null) {
      exchange.getResponseHeaders().set("X-Error-Code", code);
      exchange.getResponseHeaders().set("X-Error-Message", "test: " + code);
    }
    exchange.sendResponseHeaders(status, -1);
  }

  /** The folder of a revision; if there is none, the refusal has been sent. */
  private @Nullable Path folder(
      HttpExchange exchange, Kind kind, String id, String revision, Map<String, String> headers)
      throws IOException {
    String token = tokens.get(id);
    boolean known = folders.keySet().stream().anyMatch(k -> k.kind == kind && k.id.equals(id));
    if (!known || (token != null && !("Bearer " + token).equals(headers.get("authorization")))) {
      status(exchange, 401, "RepoNotFound");
      return null;
    }
    for (Map.Entry<Key, Path> entry : folders.entrySet()) {
      Key key = entry.getKey();
      if (key.kind == kind
          && key.id.equals(id)
          && (key.revision.equals(revision) || commit(entry.getValue()).equals(revision))) {
        return entry.getValue();
      }
    }
    status(exchange, 404, "RevisionNotFound");
    return null;
  }

  /** {@code ID}, {@code ID/revision/REVISION} or {@code ID/tree/REVISION}. */
  private void describe(HttpExchange exchange, Kind kind, String rest, Map<String, String> headers)
      throws IOException {
    boolean tree = rest.contains("/tree/");
    String[] parts = rest.split(tree ? "/tree/" : "/revision/", 2);
    String revision = parts.length == 1 ? "main" : decode(parts[1]);
    Path folder = folder(exchange, kind, parts[0], revision, headers);
    if (folder == null) {
      return;
    }
    List<String> entries = new ArrayList<>();
    files(folder)
        .forEach((name, file) -> entries.add(tree ? treeEntry(name, file) : sibling(name, file)));
    String list = "[" + String.join(",", entries) + "]";
    String json =
        tree
            ? list
            : "{\"id\":\"%s\",\"sha\":\"%s\",\"private\":false,\"siblings\":%s}"
                .formatted(parts[0], commit(folder), list);
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(200, bytes.length);
    exchange.getResponseBody().write(bytes);
  }

  private static String sibling(String name, Path file) {
    byte[] content = read(file);
    String lfs =
        isLfs(name)
            ? ",\"lfs\":{\"sha256\":\"%s\",\"size\":%d,\"pointerSize\":135}"
                .formatted(sha256(file), content.length)
            : "";
    return "{\"rfilename\":\"%s\",\"size\":%d,\"blobId\":\"%s\"%s}"
        .formatted(name.replace("\\", "\\\\"), content.length, gitBlob(content), lfs);
  }

  private static String treeEntry(String name, Path file) {
    byte[] content = read(file);
    String lfs =
        isLfs(name)
            ? ",\"lfs\":{\"oid\":\"%s\",\"size\":%d,\"pointerSize\":135}"
                .formatted(sha256(file), content.length)
            : "";
    return "{\"type\":\"file\",\"path\":\"%s\",\"size\":%d,\"oid\":\"%s\"%s}"
        .formatted(name, content.length, gitBlob(content), lfs);
  }

  private void resolve(
      HttpExchange exchange,
      Kind kind,
      String id,
      String revision,
      String name,
      Map<String, String> headers)
      throws IOException {
    Path folder = folder(exchange, kind, id, revision, headers);
    if (folder == null) {
      return;
    }
    exchange.getResponseHeaders().set("X-Repo-Commit", commit(folder));
    Path file = folder.resolve(name).normalize();
    if (!file.startsWith(folder) || !Files.isRegularFile(file)) {
      status(exchange, 404, "EntryNotFound");
      return;
    }
    String tag = tag(file);
    boolean head = exchange.getRequestMethod().equals("HEAD");
    if (isLfs(name)) {
      String path = "/lfs/" + tag + "/" + URLEncoder.encode(name, StandardCharsets.UTF_8);
      stored.put(path, file);
      exchange.getResponseHeaders().set("X-Linked-Etag", "\"" + tag + "\"");
      exchange.getResponseHeaders().set("X-Linked-Size", String.valueOf(Files.size(file)));
      exchange
          .getResponseHeaders()
          .set(
              "Location",
              "http://localhost:%d%s?Signature=a%%7Cb"
                  .formatted(storage.getAddress().getPort(), path));
      status(exchange, 302, null);
      return;
    }
    Fault fault = head ? null : fault(exchange.getRequestURI().getRawPath(), true);
    exchange
        .getResponseHeaders()
        .set("ETag", "\"" + (fault == Fault.OTHER_TAG ? "0".repeat(40) : tag) + "\"");
    if (head && hasFailure(Fault.NO_LENGTH, name)) {
      exchange.getResponseHeaders().set("Transfer-Encoding", "chunked");
      exchange.sendResponseHeaders(200, -1);
    } else if (head) {
      exchange.getResponseHeaders().set("Content-Length", String.valueOf(Files.size(file)));
      exchange.sendResponseHeaders(200, -1);
    } else {
      content(exchange, file, fault, headers);
    }
  }

  private boolean hasFailure(Fault fault, String name) {
    synchronized (failures) {
      return failures.stream()
          .anyMatch(f -> f.fault == fault && f.times > 0 && name.endsWith(f.suffix));
    }
  }

  private void content(
      HttpExchange exchange, Path file, @Nullable Fault fault, Map<String, String> headers)
      throws IOException {
    byte[] whole = read(file);
    int from = 0;
    String range = headers.get("range");
    boolean onlyWhole = fault == Fault.IGNORE_RANGE || fault == Fault.STUCK || fault == Fault.GZIP;
    if (range != null && !onlyWhole) {
      from = Integer.parseInt(range.replaceAll("bytes=(\\d+)-", "$1"));
      if (from >= whole.length) {
        status(exchange, 416, null);
        return;
      }
      exchange
          .getResponseHeaders()
          .set("Content-Range", "bytes %d-%d/%d".formatted(from, whole.length - 1, whole.length));
    }
    int status = from > 0 ? 206 : 200;
    byte[] bytes = Arrays.copyOfRange(whole, from, whole.length);
    int half = bytes.length / 2;
    boolean length = true;
    switch (fault) {
      case WRONG_BYTES -> bytes[half] ^= 1;
      case TOO_LONG -> bytes = Arrays.copyOf(bytes, bytes.length + 1);
      case SHORT_WITHOUT_LENGTH -> {
        bytes = Arrays.copyOf(bytes, half);
        length = false;
      }
      case NO_LENGTH -> length = false;
      case GZIP -> {
        bytes = gzip(bytes);
        exchange.getResponseHeaders().set("Content-Encoding", "gzip");
      }
      case null, default -> {}
    }
    exchange.sendResponseHeaders(status, length ? bytes.length : 0);
    OutputStream out = exchange.getResponseBody();
    switch (fault) {
      case SHORT_BODY, STUCK -> out.write(bytes, 0, half);
      case STALL -> {
        out.write(bytes, 0, half);
        out.flush();
        await(closed);
      }
      case SLOW -> {
        out.write(bytes, 0, half);
        out.flush();
        await(proceed);
        out.write(bytes, half, bytes.length - half);
        out.close();
      }
      case null, default -> {
        out.write(bytes);
        out.close();
      }
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      if (!latch.await(1, TimeUnit.MINUTES)) {
        throw new IllegalStateException("waited in vain for the test");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(packed)) {
      out.write(bytes);
    }
    return packed.toByteArray();
  }
}
