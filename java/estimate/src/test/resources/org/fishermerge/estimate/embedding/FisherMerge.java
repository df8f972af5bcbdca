import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;

// BASE OUT, then for each model: MODEL FISHER COEFFICIENT
void main(String[] args) {
  DiagonalFisher rule = new DiagonalFisher(Normalization.MODEL, 1e-6);
  MergeRequest.Builder request =
      MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), rule).overwrite(true);
  for (int i = 2; i < args.length; i += 3) {
    MergeSource source = MergeSource.of(Path.of(args[i]), Path.of(args[i + 1]));
    request.model(source.withCoefficient(Double.parseDouble(args[i + 2])));
  }
  try (MergeSession session = MergeSession.open(request.build());
      Kernels kernels = Kernels.open()) {
    for (var model : session.run(kernels, ProgressListener.NONE).models()) {
      IO.println(model.model() + ": norm " + model.norm() + ", weight " + model.weight());
    }
  }
}
