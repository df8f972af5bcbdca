import org.fishermerge.checkpoint.*;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;

void main() {
  try (Arena arena = Arena.ofConfined(); Kernels kernels = Kernels.open()) {
    MemorySegment values = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2, 3, 4);
    var base = NamedTensors.builder("base").add("w", new float[4], 2, 2).build();
    var one = NamedTensors.builder("one").add("w", DType.F32, List.of(2L, 2L), values).build();
    var two = NamedTensors.builder("two").add("w", DType.F32, List.of(2L, 2L),
        (from, target) -> target.fill((byte) 0)).build(); // asked when it is needed
    float[] merged = new float[4];
    MergeRequest request =
        MergeRequest.builder(base.path(), Path.of("merged"), new Average())
            .model(one.path()).model(two.path())
            .inMemory(base, one, two)
            .sink(NamedTensors.builder("merged").add("w", merged, 2, 2).build())
            .build();
    try (MergeSession session = MergeSession.open(request)) {
      session.run(kernels, ProgressListener.NONE);
    }
    IO.println(Arrays.toString(merged)); // [0.5, 1.0, 1.5, 2.0]
  }
}
