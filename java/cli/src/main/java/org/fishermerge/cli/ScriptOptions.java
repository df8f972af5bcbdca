package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.TensorSelector;
import org.fishermerge.data.TensorExamples;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of a model that comes as a TorchScript module, in place of an image tower and a head. */
final class ScriptOptions {
  @Option(
      names = "--torchscript",
      paramLabel = "FILE",
      description =
          "Any model that gives class logits, as torch.jit.save writes it, instead of --model,"
              + " --clip and a head. --model may name the checkpoint that it was made from: the"
              + " Fisher is then that checkpoint's.")
  @Nullable Path file;

  @Option(
      names = "--inputs",
      split = ",",
      paramLabel = "NAME",
      description =
          "Tensors of --data [N, ...] that the module's forward takes, in order (default:"
              + " pixel_values).")
  @Nullable List<String> inputs;

  @Option(
      names = "--logits",
      paramLabel = "INDEX|KEY",
      description =
          "Where in forward's output the logits are (default: the output itself, its first"
              + " element, or its key logits).")
  @Nullable String logits;

  /** Opens {@code --data}. */
  TensorExamples open(String source) {
    TensorSelector selector = TensorSelector.parse(source);
    if (!selector.file().toString().endsWith(".safetensors")) {
      throw new InputException(
          "--data "
              + source
              + ": --torchscript takes FILE.safetensors[#prefix.] with forward's inputs as they"
              + " are; pictures have to be preprocessed into one");
    }
    return TensorExamples.open(selector, inputs == null ? List.of("pixel_values") : inputs);
  }
}
