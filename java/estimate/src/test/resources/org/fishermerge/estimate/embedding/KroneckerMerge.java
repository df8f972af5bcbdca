import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;
import org.fishermerge.torch.runtime.LibTorchAlgebra;

// BASE OUT, then for each model: MODEL STATISTIC
void main(String[] args) {
  LayerRule rule = KroneckerFisher.DEFAULT; // or new RegMean(0.95, new Average(), 1)
  MergeRequest.Builder request =
      MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), rule);
  for (int i = 2; i < args.length; i += 2) {
    request.model(Path.of(args[i]), Path.of(args[i + 1]));
  }
  try (MergeSession session = MergeSession.open(request.build());
      Kernels kernels = Kernels.open()) {
    MergeResult result = session.run(kernels, new LibTorchAlgebra(), ProgressListener.NONE);
    IO.println("worst residual %.1g".formatted(result.worstResidual()));
  }
}
