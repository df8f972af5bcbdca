import java.nio.file.Path;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.DiagonalFisher;
import org.fishermerge.merge.MergeRequest;
import org.fishermerge.merge.MergeSession;
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
        MergeRequest.builder(base, output, DiagonalFisher.DEFAULT)
            .model(alpha, alphaFisher)
            .model(beta, betaFisher)
            .build();
    try (MergeSession session = MergeSession.open(request);
        Kernels kernels = Kernels.open()) {
      session.run(kernels, ProgressListener.NONE);
    }
    // example-end
  }
}
