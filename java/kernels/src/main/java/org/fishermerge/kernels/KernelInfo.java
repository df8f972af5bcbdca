package org.fishermerge.kernels;

import java.util.List;
import java.util.Optional;

/**
 * What runs the kernels.
 *
 * @param provider {@code scalar}, {@code cpu} or {@code cuda}
 * @param isa instruction set in use; for a GPU its architecture, precision and name
 * @param library where the native library, or for cuda the CUDA library, was loaded from; empty for
 *     scalar
 * @param abi ABI version of that library; empty for scalar
 * @param threads worker threads, including the caller
 * @param notes a line for each better provider or instruction set that is not in use: why, and what
 *     would turn it on
 */
public record KernelInfo(
    String provider,
    String isa,
    Optional<String> library,
    Optional<Integer> abi,
    int threads,
    List<String> notes) {}
