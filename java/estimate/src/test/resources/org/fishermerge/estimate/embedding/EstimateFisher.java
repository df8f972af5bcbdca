import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.estimate.*;

// MODEL CLIP CLASSES DATA OUT
void main(String[] args) {
  ModelSource source =
      ModelSource.zeroShot(Path.of(args[0]), Path.of(args[1]), args[2], args[3]);
  Estimation.Result result =
      Estimation.of(source)
          .statistics(StatisticKind.DIAGONAL_FISHER, StatisticKind.KRONECKER)
          .examples(256)
          .batchSize(2)
          .output(Path.of(args[4]))
          .build()
          .run();
  IO.println(result.examples() + " examples");
}
