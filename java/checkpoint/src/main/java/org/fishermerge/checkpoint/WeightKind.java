package org.fishermerge.checkpoint;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What the tensors of a file are, where they are no weights that can be averaged: quantised
 * weights, an adapter, the state of an optimizer, a Fisher. Told by names and dtypes.
 */
final class WeightKind {
  private static final Pattern ADAPTER =
      Pattern.compile(
          "(?:^|.*[._])(?:lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_up|lora_down"
              + "|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|oft_[rR]|ia3_l|vera_lambda_[bd]"
              + "|dora_scale)(?:[._].*)?$");
  private static final Pattern OPTIMIZER =
      Pattern.compile(
          "(?:^|.*[._])(?:exp_avg|exp_avg_sq|max_exp_avg_sq|momentum_buffer|square_avg"
              + "|exp_inf)(?:[._].*)?$");

  /** A way to quantise: what tells it, and what it is called. */
  private record Scheme(String name, Predicate<String> sign, Predicate<DType> dtype) {
    /** Told by names alone. */
    Scheme(String name, Predicate<String> sign) {
      this(name, sign, dtype -> true);
    }

    boolean matches(TensorInfo tensor) {
      return sign.test(tensor.name()) && dtype.test(tensor.dtype());
    }
  }

  /** The more telling first. */
  private static final List<Scheme> SCHEMES =
      List.of(
          new Scheme("bitsandbytes, 8 bit", ends("SCB")),
          new Scheme(
              "bitsandbytes, 4 bit",
              name -> name.contains(".quant_state.bitsandbytes__") || name.endsWith(".quant_map")),
          new Scheme("GPTQ", ends("g_idx"), DType::isInteger),
          new Scheme("GPTQ or AWQ", ends("qzeros"), DType::isInteger),
          new Scheme("GPTQ or AWQ", ends("qweight"), DType::isInteger),
          new Scheme("compressed-tensors", ends("weight_packed"), WeightKind::isCoded),
          new Scheme("HQQ", ends("W_q"), WeightKind::isCoded),
          new Scheme("quanto", name -> name.endsWith(".weight._data"), WeightKind::isCoded),
          new Scheme("torchao", name -> name.endsWith("_qdata"), WeightKind::isCoded),
          new Scheme("AQLM", ends("codes"), DType::isInteger),
          new Scheme("MXFP4", name -> name.endsWith("_blocks"), WeightKind::isCoded),
          new Scheme("MLX", ends("weight"), dtype -> dtype == DType.U32),
          new Scheme("floating point of 8 bits or fewer", ends("weight"), WeightKind::isShortFloat),
          new Scheme("integers", ends("weight"), DType::isInteger),
          new Scheme("floating point of 8 bits or fewer", name -> true, WeightKind::isShortFloat));

  private WeightKind() {}

  private static Predicate<String> ends(String last) {
    return name -> name.equals(last) || name.endsWith("." + last);
  }

  private static boolean isShortFloat(DType dtype) {
    return !dtype.isInteger() && dtype.bits() <= 8;
  }

  private static boolean isCoded(DType dtype) {
    return dtype.isInteger() || isShortFloat(dtype);
  }

  /**
   * What the tensors are instead of weights, and what to do; empty if they are weights.
   *
   * @param metadata of the first file
   * @param quantization as config.json names it, if it does
   */
  static Optional<String> problem(
      Collection<TensorInfo> tensors, Map<String, String> metadata, @Nullable String quantization) {
    if (metadata.containsKey("fisher_format")) {
      return Optional.of("is a Fisher file, where a model is wanted");
    }
    Optional<TensorInfo> adapted =
        tensors.stream().filter(tensor -> ADAPTER.matcher(tensor.name()).matches()).findFirst();
    if (adapted.isPresent()) {
      return Optional.of(adapter(tensors, adapted.get()));
    }
    Optional<TensorInfo> state =
        tensors.stream().filter(tensor -> OPTIMIZER.matcher(tensor.name()).matches()).findFirst();
    if (state.isPresent()) {
      return Optional.of(
          "holds an optimizer's state ("
              + Messages.quote(state.get().name())
              + "), where weights are wanted; name the model that was saved beside it");
    }
    if (tensors.stream().anyMatch(tensor -> tensor.name().contains("_flat_param"))) {
      return Optional.of(
          "holds flattened parameters of FSDP (_flat_param), each process its part; save the whole"
              + " state dict, and give that");
    }
    return quantized(tensors, quantization);
  }

  private static String adapter(Collection<TensorInfo> tensors, TensorInfo example) {
    String merging = " call merge_and_unload() and save_pretrained(FOLDER), and give that folder";
    String name = Messages.quote(example.name());
    boolean alone =
        tensors.stream()
            .allMatch(tensor ->
                ADAPTER.matcher(tensor.name()).matches()
                    || tensor.name().endsWith(".alpha")
                    || tensor.name().startsWith("base_model."));
    return alone
        ? "holds an adapter (such as LoRA: "
            + name
            + "), which is changes to a model and no model. Give its folder, the one with"
            + " adapter_config.json, together with its base as BASE+FOLDER where that is taken;"
            + " or load it with peft,"
            + merging
        : "holds a model with an adapter that is not merged into it ("
            + name
            + "). Load it with peft,"
            + merging;
  }

  private static Optional<String> quantized(
      Collection<TensorInfo> tensors, @Nullable String quantization) {
    for (Scheme scheme : SCHEMES) {
      for (TensorInfo tensor : tensors) {
        if (scheme.matches(tensor)) {
          String named = quantization == null || quantization.isEmpty() ? "" : quantization;
          return Optional.of(
              "holds quantised weights ("
                  + (named.isEmpty() ? scheme.name() : named)
                  + ": "
                  + Messages.quote(tensor.name())
                  + " is "
                  + tensor.dtype()
                  + " "
                  + tensor.shapeText()
                  + "), whose numbers are codes and cannot be averaged or run here. Take the model"
                  + " that it was quantised from; or load it with transformers, call dequantize()"
                  + " and save_pretrained(FOLDER), and give that folder");
        }
      }
    }
    return Optional.empty();
  }
}
