import org.fishermerge.checkpoint.*;
import org.fishermerge.checkpoint.SafetensorsWriter.Declared;

// FISHER OUT PART: keeps tensors whose names contain PART
void main(String[] args) {
  try (StatisticFile fisher = StatisticFile.open(Path.of(args[0]));
      AtomicOutput output = AtomicOutput.file(Path.of(args[1]), false)) {
    StatisticMetadata metadata = fisher.metadata().orElseThrow();
    List<TensorInfo> kept =
        fisher.tensors().values().stream().map(CheckpointTensor::info)
            .filter(tensor -> tensor.name().contains(args[2])).toList();
    var declared = kept.stream().map(t -> new Declared(t.name(), t.dtype(), t.shape())).toList();
    try (var writer = SafetensorsWriter.create(output.temp(), declared, metadata.toMap())) {
      for (TensorInfo t : kept) {
        writer.segment(t.name()).copyFrom(fisher.segment(ParameterNames.canonical(t.name())));
      }
      writer.finish();
    }
    output.commit();
    IO.println("%d tensors, sums over %d examples".formatted(kept.size(), fisher.examples()));
  }
}
