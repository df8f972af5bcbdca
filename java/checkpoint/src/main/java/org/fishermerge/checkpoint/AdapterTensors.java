package org.fishermerge.checkpoint;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.fishermerge.checkpoint.LowRank.Factor;
import org.jspecify.annotations.Nullable;

/**
 * What the tensors of an adapter's file are, told by their names.
 *
 * @param pairs the matrices of each adapted layer, by its name without {@code base_model.model.}
 * @param whole tensors that take a parameter's place, by its name
 */
record AdapterTensors(Map<String, Pair> pairs, Map<String, TensorInfo> whole) {
  private static final String PREFIX = "base_model.model.";
  private static final String SAVED = ".modules_to_save.";
  private static final String ORIGINAL = ".original_module.";

  /** What the names of a layer's tensors hold. */
  private static final List<String> MARKS =
      List.of("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector");

  /**
   * The matrices of a layer.
   *
   * @param a [rank, in], or [rank, in, height, width] of a convolution
   * @param b [out, rank], or [out, rank, 1, 1]
   * @param bias of the second matrix, [out]
   * @param magnitude of each output, with DoRA
   * @param embedding whether they adapt an embedding
   */
  record Pair(
      TensorInfo a,
      TensorInfo b,
      @Nullable TensorInfo bias,
      @Nullable TensorInfo magnitude,
      boolean embedding) {

    /** What they do to the layer's weight. */
    LowRank update(
        SafetensorsHeader header,
        AdapterConfig config,
        String module,
        CheckpointTensor weight,
        Conv1dLayers conv1d) {
      List<Long> shape = weight.info().shape();
      long rank = config.rank(module);
      if (shape.size() < 2 || a.shape().size() != (embedding ? 2 : shape.size())) {
        throw unfit(header, weight, "");
      }
      long rows = shape.getFirst();
      long columns = shape.stream().skip(1).reduce(1L, Math::multiplyExact);
      if (a.shape().getFirst() != rank || b.shape().size() < 2 || b.shape().get(1) != rank) {
        throw unfit(
            header,
            weight,
            "; the rank is "
                + rank
                + " by the configuration (r, rank_pattern), which must be the first size of the"
                + " one and the second of the other");
      }
      long in = a.elementCount() / rank;
      long out = b.elementCount() / rank;
      boolean straight = rows == out && columns == in && out == b.shape().getFirst();
      boolean turned = shape.size() == 2 && rows == in && columns == out;
      boolean sameInside =
          shape.size() == 2
              || a.shape().subList(1, a.shape().size()).equals(shape.subList(1, shape.size()));
      if (embedding ? !turned : !(straight && sameInside) && !turned) {
        throw unfit(
            header,
            weight,
            shape.size() > 2 ? "; convolutions of several groups are not adapted here" : "");
      }
      boolean transposed =
          embedding
              || (turned && (!straight || conv1d.stored(module).orElse(config.fanInFanOut())));
      return new LowRank(
          factor(header, a),
          factor(header, b),
          magnitude == null
              ? null
              : magnitude(header, magnitude, weight, transposed ? columns : rows),
          Math.toIntExact(rank),
          rows,
          columns,
          transposed,
          config.scaling(module));
    }

    private Factor magnitude(
        SafetensorsHeader header, TensorInfo info, CheckpointTensor weight, long outputs) {
      if (embedding || weight.info().shape().size() != 2) {
        throw new InputException(
            header.file()
                + ": "
                + Messages.quote(info.name())
                + " scales an embedding or a convolution (DoRA); only linear layers are scaled"
                + " here: "
                + AdapterConfig.MERGE_THERE);
      }
      if (info.elementCount() != outputs) {
        throw unfit(header, weight, "; " + Messages.quote(info.name()) + " is " + info.shapeText());
      }
      return factor(header, info);
    }

    /** What the bias of the second matrix does to the layer's. */
    LowRank biasUpdate(
        SafetensorsHeader header, AdapterConfig config, String module, CheckpointTensor target) {
      TensorInfo added = bias;
      if (added == null) {
        throw new IllegalStateException("no bias");
      }
      if (!added.shape().equals(target.info().shape()) || added.shape().size() != 1) {
        throw unfit(
            header, target, "; " + Messages.quote(added.name()) + " is " + added.shapeText());
      }
      return new LowRank(
          null,
          factor(header, added),
          null,
          1,
          added.elementCount(),
          1,
          false,
          config.scaling(module));
    }

    private static Factor factor(SafetensorsHeader header, TensorInfo info) {
      if (!info.dtype().isMergeable()) {
        throw new InputException(
            header.file()
                + ": tensor "
                + Messages.quote(info.name())
                + " is "
                + info.dtype()
                + "; expected F32, F16, BF16 or F64");
      }
      return new Factor(new CheckpointTensor(info.name(), info.name(), info, header.file()));
    }

    private InputException unfit(SafetensorsHeader header, CheckpointTensor weight, String more) {
      return new InputException(
          header.file()
              + ": "
              + Messages.quote(a.name())
              + " is "
              + a.shapeText()
              + " and "
              + Messages.quote(b.name())
              + " is "
              + b.shapeText()
              + ", which does not fit the base's "
              + Messages.quote(weight.info().name())
              + " "
              + weight.info().shapeText()
              + more);
    }
  }

  /** One of a layer's tensors. */
  private record Part(String module, String mark, String adapter, boolean bias) {}

  /**
   * Sorts the tensors of a file.
   *
   * @throws InputException if one is not what an adapter holds, a layer's matrix is missing, or
   *     several adapters are in the file
   */
  static AdapterTensors of(SafetensorsHeader header, AdapterConfig config) {
    Map<String, Map<String, TensorInfo>> layers = new LinkedHashMap<>();
    Map<String, TensorInfo> whole = new LinkedHashMap<>();
    Set<String> adapters = new TreeSet<>();
    List<TensorInfo> others = new ArrayList<>();
    for (TensorInfo info : header.tensors().values()) {
      Part part = part(header, info);
      if (part == null) {
        others.add(info);
        continue;
      }
      if (!part.adapter.isEmpty()) {
        adapters.add(part.adapter);
      }
      String mark = part.bias ? part.mark + " bias" : part.mark;
      Map<String, TensorInfo> layer =
          layers.computeIfAbsent(part.module, any -> new LinkedHashMap<>());
      TensorInfo before = layer.put(mark, info);
      if (before != null && adapters.size() < 2) {
        throw new InputException(
            header.file()
                + ": the tensors "
                + Messages.quote(before.name())
                + " and "
                + Messages.quote(info.name())
                + " are the same matrix");
      }
    }
    if (adapters.size() > 1) {
      throw new InputException(
          header.file()
              + ": holds several adapters, "
              + NameList.of(adapters, 4)
              + "; save each into a folder of its own");
    }
    String adapter = adapters.isEmpty() ? "default" : adapters.iterator().next();
    for (TensorInfo info : others) {
      // With bias=all, PEFT also writes the biases of a module before it was trained, and again
      // those of after; it reads those that have the module's plain name.
      if (info.name().contains(ORIGINAL)) {
        continue;
      }
      boolean again = info.name().contains(SAVED);
      TensorInfo before = whole.get(replaced(info.name(), adapter));
      if (before == null || (before.name().contains(SAVED) && !again)) {
        whole.put(replaced(info.name(), adapter), info);
      } else if (!again || before.name().contains(SAVED)) {
        throw new InputException(
            header.file()
                + ": the tensors "
                + Messages.quote(before.name())
                + " and "
                + Messages.quote(info.name())
                + " are the same parameter");
      }
    }
    Map<String, Pair> pairs = new LinkedHashMap<>();
    layers.forEach((module, parts) -> pairs.put(module, pair(header, config, module, parts)));
    if (pairs.isEmpty() && whole.isEmpty()) {
      throw new InputException(header.file() + ": holds no tensors");
    }
    return new AdapterTensors(pairs, whole);
  }

  private static @Nullable Part part(SafetensorsHeader header, TensorInfo info) {
    String name = withoutPrefix(info.name());
    for (String mark : MARKS) {
      int at = name.lastIndexOf("." + mark);
      if (at < 0) {
        continue;
      }
      String rest = name.substring(at + 1 + mark.length());
      if (!rest.isEmpty() && rest.charAt(0) != '.') {
        continue;
      }
      // Between the mark and "weight" or "bias" there may be the name that the adapter had.
      boolean bias = rest.endsWith(".bias");
      String adapter =
          rest.endsWith(".weight") || bias ? rest.substring(0, rest.lastIndexOf('.')) : rest;
      if (adapter.indexOf('.', 1) >= 0 || (bias && !mark.equals("lora_B"))) {
        break;
      }
      return new Part(
          name.substring(0, at), mark, adapter.isEmpty() ? "" : adapter.substring(1), bias);
    }
    if (name.contains(".lora_") || name.contains(".token_adapter.")) {
      throw new InputException(
          header.file()
              + ": the tensor "
              + Messages.quote(info.name())
              + " is of a kind of adapter that is not applied here: "
              + AdapterConfig.MERGE_THERE);
    }
    return null;
  }

  private static Pair pair(
      SafetensorsHeader header,
      AdapterConfig config,
      String module,
      Map<String, TensorInfo> parts) {
    boolean embedding =
        parts.containsKey("lora_embedding_A") || parts.containsKey("lora_embedding_B");
    String kind = embedding ? "lora_embedding_" : "lora_";
    TensorInfo a = parts.remove(kind + "A");
    TensorInfo b = parts.remove(kind + "B");
    TensorInfo bias = parts.remove("lora_B bias");
    TensorInfo magnitude = parts.remove("lora_magnitude_vector");
    if (a == null || b == null) {
      throw new InputException(
          header.file()
              + ": the layer "
              + Messages.quote(module)
              + " has no "
              + kind
              + (a == null ? "A" : "B")
              + "; a layer needs both of its matrices");
    }
    if (!parts.isEmpty()) {
      throw new InputException(
          header.file()
              + ": the layer "
              + Messages.quote(module)
              + " is adapted as an embedding and as a linear layer");
    }
    if ((magnitude != null) != config.magnitudes()) {
      throw new InputException(
          header.file()
              + ": the layer "
              + Messages.quote(module)
              + (magnitude == null ? " has no" : " has a")
              + " lora_magnitude_vector, but use_dora is "
              + config.magnitudes()
              + " in "
              + config.file());
    }
    if ((bias != null) != config.biases()) {
      throw new InputException(
          header.file()
              + ": the layer "
              + Messages.quote(module)
              + (bias == null ? " has no" : " has a")
              + " lora_B.bias, but lora_bias is "
              + config.biases()
              + " in "
              + config.file());
    }
    return new Pair(a, b, bias, magnitude, embedding);
  }

  /** The parameter that a tensor takes the place of. */
  private static String replaced(String stored, String adapter) {
    String name = withoutPrefix(stored).replace(".base_layer.", ".");
    int at = name.indexOf(SAVED);
    if (at < 0) {
      return name;
    }
    String rest = name.substring(at + SAVED.length());
    return name.substring(0, at + 1)
        + (rest.startsWith(adapter + ".") ? rest.substring(adapter.length() + 1) : rest);
  }

  private static String withoutPrefix(String name) {
    return name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
  }
}
