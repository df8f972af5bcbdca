package org.fishermerge.kernels;

import java.util.List;
import java.util.Optional;

/**
 * What runs the kernels.
 *
 * @param provider {@code scalar}, {@code cpu} or {@code cuda}
 * @param isa instruction set in use; of a GPU its architecture, precision and name
 * @param library path of the native library
 * @param abi ABI version of the native library
 * @param threads worker threads, the caller included
 * @param notes why a better provider or instruction set is off, and what would turn it on; empty
 *     where this is the best
 */
public record KernelInfo(
    String provider,
    String isa,
    Optional<String> library,
    Optional<Integer> abi,
    int threads,
    List<String> notes) {}
