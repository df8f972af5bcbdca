import org.fishermerge.checkpoint.InputException;
import org.fishermerge.kernels.Kernels;
import org.fishermerge.merge.*;

// BASE OUT MODEL
void main(String[] args) {
  MergeRequest request =
      MergeRequest.builder(Path.of(args[0]), Path.of(args[1]), new Average())
          .model(Path.of(args[2]))
          .build();
  try (MergeSession session = MergeSession.open(request); Kernels kernels = Kernels.open()) {
    session.run(kernels, ProgressListener.NONE);
  } catch (OverflowException e) {
    IO.println("another output dtype would do: " + e.getMessage());
  } catch (InputException e) {
    IO.println("for the user: " + e.getMessage());
  } catch (CancellationException e) {
    IO.println("interrupted");
  }
}
