import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;

// BASE OUT MODEL...
void main(String[] args) {
  MergeRequest.Builder request =
      MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), new Average()).exclude("head\\.");
  for (String model : Arrays.asList(args).subList(2, args.length)) {
    request.model(Path.of(model));
  }
  try (MergeSession session = MergeSession.open(request.build());
      Kernels kernels = Kernels.open()) {
    IO.println(session.plan());
    MergeResult result = session.run(kernels, ProgressListener.NONE);
    result.warnings().forEach(IO::println);
  }
}
