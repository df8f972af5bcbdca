package org.fishermerge.data.hub;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.hub.HubHttp.Answer;
import org.fishermerge.data.hub.HubHttp.Headers;
import org.jspecify.annotations.Nullable;

/**
 * One file of a commit on its way into the blobs of the cache. A connection that breaks is taken up
 * again where it broke, and so is a download that an earlier process left unfinished. The blob
 * appears only when its size and hash are right.
 */
final class Download {
  private static final Pattern CONTENT_RANGE = Pattern.compile("bytes (\\d{1,18})-.*");

  private final HubHttp http;
  private final HubCache cache;
  private final HubProgress progress;
  private final Repository repository;
  private final String commit;
  private final String name;

  /** What the hub announces: the entity tag, and the size in bytes or -1. */
  private final FileList.Entry announced;

  private final String tag;

  /** The server cannot send a part of the file. */
  private boolean onlyWhole;

  Download(
      HubHttp http,
      HubCache cache,
      HubProgress progress,
      Repository repository,
      String commit,
      String name,
      String tag,
      long size) {
    this.http = http;
    this.cache = cache;
    this.progress = progress;
    this.repository = repository;
    this.commit = commit;
    this.name = name;
    this.tag = tag;
    this.announced = new FileList.Entry(size, tag);
  }

  /** Bytes that have to be downloaded, or 0 if the hub does not say. */
  long missing() {
    Path blob = blob();
    return Math.max(0, announced.size() - IncompleteFile.leftover(blob));
  }

  String name() {
    return name;
  }

  /** What is wrong with the blob that is there; null if nothing is. */
  @Nullable String damage() {
    return cache.damage(repository, blob(), tag, announced.size());
  }

  Path blob() {
    return cache.blob(repository, tag);
  }

  /**
   * Downloads, unless another process has done so meanwhile.
   *
   * @throws DamagedDownloadException if something else arrives than was announced
   * @throws InputException if the hub refuses, cannot be reached, or the cache cannot be written
   */
  Path run(Retries retries) {
    Path blob = blob();
    Runnable waiting =
        () -> progress.note(name + ": waiting for another download of the same file");
    try (BlobLock lock = BlobLock.acquire(cache.lockFile(repository, tag), waiting)) {
      if (Files.exists(blob) && damage() == null) {
        return blob;
      }
      try (IncompleteFile file = IncompleteFile.of(cache, blob, announced.size())) {
        receive(file, retries);
        verify(file);
        file.publish();
      }
      cache.putVerified(repository, blob, tag);
      return blob;
    }
  }

  private void receive(IncompleteFile file, Retries retries) {
    URI url = http.fileUrl(repository, commit, name);
    long furthest = file.position();
    byte[] buffer = new byte[1 << 16];
    while (announced.size() < 0 || file.position() < announced.size() || announced.size() == 0) {
      Map<String, String> range =
          file.position() > 0 && !onlyWhole
              ? Map.of("Range", "bytes=" + file.position() + "-")
              : Map.of();
      try (Answer answer = http.ask("GET", url, range)) {
        if (answer.status() == 416 && !range.isEmpty()) {
          onlyWhole = true;
          file.restart();
          continue;
        }
        if (!answer.succeeded()) {
          http.failed(answer, repository, name, retries);
          continue;
        }
        checkTag(answer.headers(), file);
        InputStream body = body(answer);
        if (!continues(answer, file)) {
          file.restart();
          if (answer.status() == 206) {
            onlyWhole = true;
            continue;
          }
        }
        for (int n = body.read(buffer); n >= 0; n = body.read(buffer)) {
          file.append(buffer, n);
          if (announced.size() >= 0 && file.position() > announced.size()) {
            file.restart();
            throw new DamagedDownloadException(
                "%s of %s: the hub sends more than the %,d bytes it announced"
                    .formatted(name, repository, announced.size()));
          }
          if (file.position() > furthest) {
            // Only what has not been here before: else a server that never gets further than half
            // of the file would be asked for ever.
            furthest = file.position();
            retries.progressed();
          }
          progress.downloaded(name, file.position(), announced.size());
        }
        if (announced.size() < 0 || file.position() == announced.size()) {
          return;
        }
        http.failed(
            new IOException(
                "it ended after %,d of %,d bytes of %s"
                    .formatted(file.position(), announced.size(), name)),
            retries);
      } catch (IOException e) {
        http.failed(e, retries);
      }
    }
  }

  /** Whether the answer goes on where the file ends. */
  private boolean continues(Answer answer, IncompleteFile file) {
    if (answer.status() != 206) {
      return file.position() == 0;
    }
    Matcher range = CONTENT_RANGE.matcher(String.valueOf(answer.headers().get("content-range")));
    return !onlyWhole && range.matches() && Long.parseLong(range.group(1)) == file.position();
  }

  /** Not compressed: proxies compress although they are asked not to. */
  private InputStream body(Answer answer) throws IOException {
    String encoding = answer.headers().get("content-encoding");
    if (encoding == null || encoding.equalsIgnoreCase("identity")) {
      return answer.body();
    }
    if (encoding.equalsIgnoreCase("gzip")) {
      // Ranges are then those of the compressed file.
      onlyWhole = true;
      return answer.status() == 206 ? answer.body() : new GZIPInputStream(answer.body());
    }
    throw new InputException(
        "%s of %s: comes compressed as '%s', though it was not to be; check the proxy"
            .formatted(name, repository, encoding));
  }

  /** Notices at once that the file is another one by now, where the server tells. */
  private void checkTag(Headers headers, IncompleteFile file) {
    String linked = headers.getAny("x-linked-etag");
    String found = Headers.tag(linked != null ? linked : headers.get("etag"));
    boolean telling =
        found != null
            && ContentHash.of(found) != ContentHash.NONE
            && ContentHash.of(found) == ContentHash.of(tag);
    if (telling && !tag.equals(found)) {
      file.restart();
      throw new DamagedDownloadException(
          "%s of %s: it changed on the hub while it was downloaded (its entity tag was %s, now %s)"
              .formatted(name, repository, tag, found));
    }
  }

  private void verify(IncompleteFile file) {
    @Nullable String hash = file.hash();
    if (hash != null && !hash.equals(tag)) {
      long received = file.position();
      file.restart();
      throw new DamagedDownloadException(
          "%s of %s: the %,d bytes that arrived have the %s %s, where %s is expected"
              .formatted(name, repository, received, ContentHash.of(tag).words(), hash, tag));
    }
  }
}
