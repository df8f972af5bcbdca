import java.nio.file.Path;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.MergePlan;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.Merger;
import org.fishermerge.merge.ProgressListener;

/** Merges two models with their Fisher files. Run by EmbeddedJarIT and quoted in the README. */
final class EmbeddingExample {
  public static void main(String[] args) {
    Path base = Path.of(args[0]);
    Path output = Path.of(args[1]);
    Path alpha = Path.of(args[2]);
    Path alphaFisher = Path.of(args[3]);
    Path beta = Path.of(args[4]);
    Path betaFisher = Path.of(args[5]);
    // example-begin
    MergeRequest request =
        MergeRequest.builder(base, output).model(alpha, alphaFisher).model(beta, betaFisher).build();
    MergePlan plan = MergePlan.of(request);
    try (Kernels kernels = Kernels.open()) {
      Merger.run(plan, kernels, ProgressListener.NONE);
    }
    // example-end
  }
}
