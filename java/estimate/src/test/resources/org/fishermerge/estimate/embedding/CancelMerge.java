import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;

// BASE OUT MODEL LIMIT, a duration such as PT30S
void main(String[] args) {
  MergeRequest request =
      MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), new Average())
          .model(Path.of(args[2]))
          .build();
  Instant end = Instant.now().plus(Duration.parse(args[3]));
  try (MergeSession session = MergeSession.open(request); Kernels kernels = Kernels.open()) {
    session.run(kernels, (done, total) -> {
      IO.println(100 * done / Math.max(1, total) + " %");
      if (Instant.now().isAfter(end)) {
        Thread.currentThread().interrupt(); // as another thread may do
      }
    });
  } catch (CancellationException e) {
    IO.println("cancelled: " + e.getMessage());
  }
}
