package org.fishermerge.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.cli.task.Repositories;
import org.fishermerge.data.files.DataSource;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;

/**
 * Where what options name is on this machine: itself if it exists, else what the Hugging Face hub
 * has of that name, downloaded. Names that can be no repository's stay as they are, for their
 * reader to refuse. A command over existing files loads nothing of the hub's client.
 */
final class Places implements AutoCloseable {
  private final CommandSpec spec;
  private @Nullable Repositories repositories;

  Places(CommandSpec spec) {
    this.spec = spec;
  }

  private Repositories repositories() {
    Repositories known = repositories;
    if (known == null) {
      known = new Repositories(null, Main.environment(spec), spec.commandLine().getErr());
      repositories = known;
    }
    return known;
  }

  /** A model's folder or file. */
  Path model(Path named) {
    return Files.exists(named) ? named : repositories().weights(named.toString());
  }

  /** A Fisher file, or the folder of its shards. */
  Path fisher(Path named) {
    return Files.exists(named) ? named : repositories().fisher(named.toString());
  }

  /** A model or a Fisher. */
  Path tensors(Path named) {
    return Files.exists(named) ? named : repositories().tensors(named.toString());
  }

  /** The folder of a tokenizer. */
  Path tokenizer(Path named) {
    return Files.exists(named) ? named : repositories().tokenizer(named.toString());
  }

  /** {@code FILE.safetensors[#prefix.]}, with the file where it is. */
  String selector(String text) {
    TensorSelector selector = TensorSelector.parse(text);
    Path file = tensors(selector.file());
    return file.equals(selector.file())
        ? text
        : selector.prefix().isEmpty() ? file.toString() : file + "#" + selector.prefix();
  }

  /** Data that is found, and downloaded when it is asked for; empty for a safetensors file. */
  Optional<Supplier<DataSource>> data(String source) {
    return repositories().data(source);
  }

  @Override
  public void close() {
    if (repositories != null) {
      repositories.close();
    }
  }
}
