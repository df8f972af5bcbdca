package org.fishermerge.torch;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.ParameterNames;
import org.fishermerge.checkpoint.TensorDigest;
import org.fishermerge.torch.ScriptModule.Parameter;
import org.fishermerge.torch.runtime.Tensors;

/** The parameters and buffers of a module, held against checkpoints. */
record ScriptState(ScriptModule module) {
  /**
   * Refuses a checkpoint that the module was not made from: each parameter must be there, under one
   * of its names, with the same values.
   */
  void requireParametersOf(Checkpoint checkpoint) {
    for (Parameter parameter : module.parameters()) {
      List<String> stored = namesIn(checkpoint, parameter);
      if (stored.isEmpty()) {
        throw new InputException(
            checkpoint.path()
                + ": has no tensor "
                + parameter.name()
                + ", a parameter of "
                + module.origin()
                + "; --model must be the checkpoint that the module was made from");
      }
      float[] values = Tensors.floats(parameter.tensor().detach());
      for (String name : stored) {
        if (!Arrays.equals(values, checkpoint.floats(ParameterNames.canonical(name)))) {
          throw new InputException(
              checkpoint.path()
                  + ": tensor "
                  + name
                  + " differs from that of "
                  + module.origin()
                  + "; --model must be the checkpoint that the module was made from");
        }
      }
    }
  }

  /** Those names of a parameter that a checkpoint has. */
  static List<String> namesIn(Checkpoint checkpoint, Parameter parameter) {
    return parameter.names().stream()
        .filter(name -> checkpoint.has(ParameterNames.canonical(name)))
        .toList();
  }

  /** As a checkpoint would have them; tensors of types that no checkpoint has are left out. */
  List<TensorDigest.Entry> entries() {
    List<TensorDigest.Entry> entries = new ArrayList<>();
    module
        .state()
        .forEach((name, tensor) -> {
          DType dtype = InputTensor.dtype(tensor);
          if (dtype != null) {
            List<Long> shape = Arrays.stream(tensor.sizes().vec().get()).boxed().toList();
            entries.add(
                new TensorDigest.Entry(
                    ParameterNames.canonical(name), dtype, shape, Tensors.bytes(tensor)));
          }
        });
    return entries;
  }
}
