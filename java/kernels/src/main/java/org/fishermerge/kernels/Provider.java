package org.fishermerge.kernels;

import java.util.Collection;
import java.util.Locale;
import java.util.stream.Collectors;

/** What runs the kernels, under the names that {@link KernelOptions} gives them. */
enum Provider {
  /** The better of {@link #SCALAR} and {@link #CPU}. */
  AUTO,
  /** Plain Java. */
  SCALAR,
  /** The native library, on the CPU. */
  CPU,
  /** The CUDA library, on a GPU. */
  CUDA;

  /**
   * The provider of a name.
   *
   * @param property the system property that the message names
   * @param known the providers that it may be
   * @throws IllegalArgumentException for any other name; the message has the known ones
   */
  static Provider parse(String property, String name, Collection<Provider> known) {
    for (Provider provider : known) {
      if (provider.text().equals(name)) {
        return provider;
      }
    }
    throw new IllegalArgumentException(
        "%s=%s is unknown; known: %s"
            .formatted(
                property,
                name,
                known.stream().map(Provider::text).collect(Collectors.joining(", "))));
  }

  String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
