package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ModelFolder;
import org.fishermerge.checkpoint.ModelPath;
import org.fishermerge.checkpoint.Reasons;

/** Where a merge writes, and what it writes beside the weights. */
final class OutputTarget {
  /** A sidecar is a configuration or a vocabulary; the largest in use are some 40 MB. */
  private static final long SIDECAR_MAX_BYTES = 256L << 20;

  /** "dtype" since transformers 5, "torch_dtype" before; in nested configurations too. */
  private static final Pattern CONFIG_DTYPE =
      Pattern.compile("(\"(?:torch_)?dtype\"\\s*:\\s*)\"[^\"]*\"");

  private OutputTarget() {}

  static boolean isSingleFile(MergeRequest request) {
    return request.output().toString().endsWith(".safetensors");
  }

  /** Refuses a target that exists, or that would replace or mingle with an input. */
  static void check(MergeRequest request) {
    if (request.sink() != null) {
      return;
    }
    List<Path> inputs = new ArrayList<>();
    addParts(request, request.base(), inputs);
    for (MergeSource source : request.models()) {
      addParts(request, source.model(), inputs);
      source
          .statistic()
          .filter(file -> !request.inMemory().containsKey(file))
          .ifPresent(inputs::add);
    }
    AtomicOutput.requireApart(request.output(), inputs);
    if (!request.overwrite() && Files.exists(request.output())) {
      throw new InputException(
          "the output "
              + request.output()
              + " exists; name another one, or replace it with --overwrite");
    }
  }

  private static void addParts(MergeRequest request, Path model, List<Path> inputs) {
    if (!request.inMemory().containsKey(model)) {
      inputs.addAll(OpenFiles.modelPath(request, model).parts());
    }
  }

  /** The same of files that an input's links lead to. */
  static void checkFiles(MergeRequest request, List<Path> files) {
    if (request.sink() == null) {
      AtomicOutput.requireApart(request.output(), files);
    }
  }

  /**
   * The base's files that a model needs beside its weights: configuration, tokenizer,
   * preprocessing, chat template, custom code, licence. Chosen by kind of file, so that weights in
   * other formats, optimizer states, caches and the model card (which describes the base) stay
   * behind.
   */
  static List<Path> sidecars(MergeRequest request) {
    if (request.sink() != null
        || isSingleFile(request)
        || request.inMemory().containsKey(request.base())) {
      return List.of();
    }
    Path base = ModelPath.of(request.base()).base();
    if (!Files.isDirectory(base)) {
      return List.of();
    }
    ModelFolder folder = new ModelFolder(base);
    try (Stream<Path> files = Files.list(base)) {
      return files
          .filter(OutputTarget::isSidecar)
          .sorted()
          .flatMap(file -> folder.find(file.getFileName().toString()).stream())
          .toList();
    } catch (IOException e) {
      throw new InputException("cannot list " + base + ": " + Reasons.of(e), e);
    }
  }

  private static boolean isSidecar(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    boolean wanted =
        Stream.of(".json", ".txt", ".model", ".jinja", ".tiktoken", ".py").anyMatch(name::endsWith)
            || name.startsWith("license");
    boolean weights =
        name.endsWith(".index.json") || name.equals("trainer_state.json") || name.startsWith(".");
    try {
      return wanted
          && !weights
          && Files.isRegularFile(file)
          && Files.size(file) <= SIDECAR_MAX_BYTES;
    } catch (IOException e) {
      throw new InputException("cannot read " + file + ": " + Reasons.of(e), e);
    }
  }

  /** Copies the sidecars; configurations name the dtype that was asked for. */
  static void copySidecars(List<Path> sidecars, Path folder, MergeRequest request) {
    DType dtype = request.outputDtype();
    for (Path sidecar : sidecars) {
      Path copy = folder.resolve(sidecar.getFileName().toString());
      try {
        if (dtype != null && copy.endsWith(Path.of("config.json"))) {
          Files.writeString(copy, withDtype(Files.readString(sidecar), dtype));
        } else {
          // The bytes only: a read-only base must not make a read-only output.
          try (var in = Files.newInputStream(sidecar)) {
            Files.copy(in, copy);
          }
        }
      } catch (IOException e) {
        throw new InputException(
            request.output() + ": cannot be written: a copy of " + sidecar + ": " + Reasons.of(e),
            e);
      }
    }
  }

  /**
   * Replaces the dtype in the text, so that everything else keeps its form. The quotes around the
   * key cannot occur inside a JSON string, where they would be escaped.
   */
  static String withDtype(String config, DType dtype) {
    String name =
        switch (dtype) {
          case F32 -> "float32";
          case F16 -> "float16";
          case BF16 -> "bfloat16";
          case F64 -> "float64";
          default -> throw new IllegalArgumentException("not a dtype of parameters: " + dtype);
        };
    Matcher matcher = CONFIG_DTYPE.matcher(config);
    return matcher.replaceAll("$1\"" + name + "\"");
  }
}
