package org.fishermerge.checkpoint;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;

/** Files that people take for safetensors, and what to tell them. */
final class LookAlike {
  /** How much of the beginning of a file {@link #describe} wants to see. */
  static final int PREFIX_BYTES = 512;

  private static final List<String> PICKLE_SUFFIXES =
      List.of(".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle");

  static final String PICKLE =
      "pickle files can run code when loaded and are never read here. Convert it where you trust"
          + " it: load it with transformers and call save_pretrained(folder,"
          + " safe_serialization=True), or use the Hugging Face space safetensors/convert";

  private LookAlike() {}

  /** Whether the name is one under which PyTorch pickles are kept. */
  static boolean isPickleName(Path file) {
    String name = Objects.toString(file.getFileName(), "").toLowerCase(Locale.ROOT);
    return PICKLE_SUFFIXES.stream().anyMatch(name::endsWith);
  }

  static InputException pickleRefusal(Path file) {
    return new InputException(file + ": is a PyTorch pickle by its name; " + PICKLE);
  }

  /** What the file is instead of safetensors, judged by its first bytes, and what to do. */
  static Optional<String> describe(byte[] prefix) {
    String text = new String(prefix, StandardCharsets.ISO_8859_1);
    String trimmed = text.stripLeading().toLowerCase(Locale.ROOT);
    if (text.startsWith("version https://git-lfs")) {
      return Optional.of(
          "is a Git LFS pointer, not the file itself; fetch the data with `git lfs pull`");
    }
    if (trimmed.startsWith("<!doctype html") || trimmed.startsWith("<html")) {
      return Optional.of(
          "is an HTML page (often an error or login page saved by a download); download the file"
              + " again from its direct link");
    }
    if (trimmed.startsWith("<?xml")) {
      return Optional.of(
          "is an XML text (often an error saved by a download); download the file again");
    }
    if (text.startsWith("\u001f\u008b")) {
      return Optional.of("is gzip data; unpack it with gunzip (or tar) first");
    }
    if (text.startsWith("PK\u0003\u0004") || text.startsWith("PK\u0005\u0006")) {
      return Optional.of("is a zip archive, as torch.save writes for pickles; " + PICKLE);
    }
    if (text.startsWith("\u0089HDF\r\n")) {
      return Optional.of(
          "is an HDF5 file (TensorFlow or Keras weights); take the safetensors original of the"
              + " model, or convert it with transformers");
    }
    if (text.startsWith("GGUF")) {
      return Optional.of(
          "is a GGUF file (llama.cpp), usually quantised; take the safetensors original of the"
              + " model");
    }
    if (text.length() > 1
        && text.charAt(0) == '\u0080'
        && text.charAt(1) >= 2
        && text.charAt(1) <= 5) {
      return Optional.of("is a Python pickle; " + PICKLE);
    }
    if (trimmed.startsWith("{")) {
      return Optional.of("is a JSON text, not a safetensors file");
    }
    return Optional.empty();
  }
}
