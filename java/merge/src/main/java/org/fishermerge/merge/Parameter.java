package org.fishermerge.merge;

import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.CheckpointTensor;

/**
 * A parameter of the base. It has several names where weights are tied, is merged once, and written
 * under each name that the base stores.
 *
 * @param tensor where the base stores it first
 * @param names canonical names under which inputs may store it, the first tensor's first
 * @param copies the base's other tensors of it, of the same bits
 */
record Parameter(CheckpointTensor tensor, List<String> names, List<CheckpointTensor> copies) {
  Parameter {
    names = List.copyOf(names);
    copies = List.copyOf(copies);
  }

  String name() {
    return tensor.canonicalName();
  }

  /** All of the base's tensors of it. */
  List<CheckpointTensor> tensors() {
    return Stream.concat(Stream.of(tensor), copies.stream()).toList();
  }
}
