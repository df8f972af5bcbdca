import org.fishermerge.kernels.*;

// PROVIDER THREADS
void main(String[] args) {
  KernelOptions options =
      KernelOptions.fromSystemProperties()
          .withProvider(args[0])
          .withThreads(Integer.parseInt(args[1]));
  try (Kernels kernels = Kernels.open(options)) {
    KernelInfo info = kernels.info();
    IO.println("%s (%s), %d threads".formatted(info.provider(), info.isa(), info.threads()));
    info.library().ifPresent(IO::println);
    info.notes().forEach(IO::println);
  } catch (IllegalArgumentException | IllegalStateException e) {
    IO.println(e.getMessage());
  }
}
