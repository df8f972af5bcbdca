package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.TupleElements;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * Finds the logits in what a module's {@code forward} returns.
 *
 * @param origin names the module in messages
 * @param key an index into a tuple or list, or a key of a dict; null for the output itself, the
 *     first element, or the key {@code logits}
 */
record ScriptLogits(String origin, @Nullable String key) {
  /**
   * The logits of a batch.
   *
   * @throws InputException if they are not there, or are no fp32 tensor [examples, classes]
   */
  Tensor of(IValue output, int examples) {
    IValue found = element(output);
    if (!found.isTensor()) {
      throw notLogits("is " + found.tagKind().getString() + ", not a tensor");
    }
    Tensor logits = new Tensor(found.toTensor());
    if (logits.scalar_type().intern() != torch.ScalarType.Float
        || logits.dim() != 2
        || logits.size(0) != examples
        || logits.size(1) < 2) {
      throw notLogits(
          "is "
              + logits.scalar_type().intern()
              + Arrays.toString(logits.sizes().vec().get())
              + " for "
              + examples
              + (examples == 1 ? " example" : " examples")
              + "; expected Float[examples, classes]");
    }
    return logits;
  }

  private InputException notLogits(String what) {
    return new InputException(
        origin
            + ": "
            + (key == null ? "forward's output " : "forward's output " + key + " ")
            + what
            + "; --logits says where in the output the logits are");
  }

  private IValue element(IValue output) {
    if (output.isTuple() || output.isList()) {
      List<IValue> elements = elements(output);
      int index = key == null ? 0 : index(key);
      if (index < 0 || index >= elements.size()) {
        throw new InputException(
            "--logits "
                + key
                + ": the module returns "
                + elements.size()
                + " values; expected an index from 0 to "
                + (elements.size() - 1));
      }
      return elements.get(index);
    }
    if (output.isGenericDict()) {
      IValue wanted = new IValue(key == null ? "logits" : key);
      if (!output.toGenericDict().contains(wanted)) {
        throw new InputException(
            (key == null ? "--logits is missing" : "--logits " + key)
                + ": the module returns a dict with the keys "
                + keys(output));
      }
      return output.toGenericDict().at(wanted);
    }
    if (key != null) {
      throw new InputException(
          "--logits "
              + key
              + ": the module returns one "
              + output.tagKind().getString()
              + "; leave the option out");
    }
    return output;
  }

  private static int index(String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      return -1;
    }
  }

  private static List<IValue> elements(IValue output) {
    List<IValue> elements = new ArrayList<>();
    if (output.isTuple()) {
      TupleElements tuple = output.toTuple().elements();
      for (long i = 0; i < tuple.size(); i++) {
        elements.add(tuple.get(i));
      }
    } else if (output.isTensorList()) {
      TensorVector list = output.toTensorVector();
      for (long i = 0; i < list.size(); i++) {
        elements.add(new IValue(list.get(i)));
      }
    }
    return elements;
  }

  private static String keys(IValue dict) {
    List<String> keys = new ArrayList<>();
    var entries = dict.toGenericDict();
    for (var it = entries.begin(); it.notEquals(entries.end()); it.increment()) {
      IValue key = it.access().key();
      keys.add(key.isString() ? key.toConstantString().toString() : key.tagKind().getString());
    }
    return String.join(", ", keys);
  }
}
