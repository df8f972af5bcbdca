package org.fishermerge.data.hub;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The files of a repository at one commit. Kept beside the snapshot, so that offline too it is
 * known what the snapshot lacks, in the format of the {@code trees/COMMIT.json} files that Python's
 * {@code huggingface_hub} keeps.
 */
record FileList(NavigableMap<String, Entry> files) {
  private static final int FORMAT_VERSION = 1;

  /**
   * @param size in bytes; -1 if the hub did not say
   * @param tag what {@link ContentHash} makes something of; null if the hub did not say
   */
  record Entry(long size, @Nullable String tag) {}

  /** From the hub's description of a repository. */
  static FileList ofSiblings(JsonNode siblings) {
    TreeMap<String, Entry> files = new TreeMap<>();
    for (JsonNode file : siblings) {
      String name = file.path("rfilename").asText();
      if (!name.isEmpty()) {
        files.put(name, entry(file, file.path("blobId"), file.path("lfs").path("sha256")));
      }
    }
    return new FileList(files);
  }

  private static Entry entry(JsonNode file, JsonNode blob, JsonNode sha256) {
    String tag = sha256.isTextual() ? sha256.asText() : blob.isTextual() ? blob.asText() : null;
    return new Entry(file.path("size").asLong(-1), tag);
  }

  /** From what {@link #toBytes} or Python wrote; nothing if it is something else. */
  static Optional<FileList> parse(byte[] json) {
    try {
      JsonNode root = Json.MAPPER.readTree(json);
      if (root.path("format_version").asInt() != FORMAT_VERSION || !root.path("files").isObject()) {
        return Optional.empty();
      }
      TreeMap<String, Entry> files = new TreeMap<>();
      for (Map.Entry<String, JsonNode> file : root.path("files").properties()) {
        JsonNode entry = file.getValue();
        files.put(file.getKey(), entry(entry, entry.path("blob_id"), entry.path("lfs_sha256")));
      }
      return Optional.of(new FileList(files));
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  byte[] toBytes() {
    ObjectNode root = Json.MAPPER.createObjectNode();
    root.put("format_version", FORMAT_VERSION);
    ObjectNode entries = root.putObject("files");
    files.forEach((name, entry) -> {
      ObjectNode json = entries.putObject(name);
      if (entry.size() >= 0) {
        json.put("size", entry.size());
      }
      if (entry.tag() != null) {
        boolean lfs = ContentHash.of(entry.tag()) == ContentHash.SHA256;
        json.put(lfs ? "lfs_sha256" : "blob_id", entry.tag());
      }
    });
    return root.toPrettyString().getBytes(StandardCharsets.UTF_8);
  }
}
