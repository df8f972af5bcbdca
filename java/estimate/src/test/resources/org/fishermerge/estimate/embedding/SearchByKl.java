import org.fishermerge.checkpoint.*;
import org.fishermerge.estimate.*;
import org.fishermerge.estimate.tune.*;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.torch.WeightBlend;

// BASE MODEL CLASSES DATA: KL(model || base + scale (model - base)), in nats
void main(String[] args) {
  Path base = Path.of(args[0]), model = Path.of(args[1]);
  ModelSource.zeroShot(model, base, args[2], args[3]).with(IO::println, own -> {
    OwnPredictions wanted = OwnPredictions.of(own, new long[] {0, 1, 2, 3}, 4);
    ModelSource.zeroShot(base, base, args[2], args[3]).with(IO::println, data -> {
      var task = new DivergenceMeter.Task((ClassifierOnData) data, wanted);
      var meter = new DivergenceMeter(List.of(task), 4);
      try (Checkpoint from = Checkpoint.open(base); Checkpoint to = Checkpoint.open(model);
          Kernels kernels = Kernels.open()) {
        var blend = new WeightBlend(meter.backbone(), from, List.of(to), kernels);
        for (double scale = 0; scale <= 1; scale += 0.25) {
          var coefficients = new double[blend.names().size()][];
          Arrays.fill(coefficients, new double[] {scale});
          blend.set(coefficients);
          IO.println(scale + ": " + meter.divergences(DivergenceMeter.Half.CHOOSING).getFirst());
        }
      }
    });
  });
}
