package org.fishermerge.kernels;

/**
 * Where an element of some rank lies.
 *
 * @param magnitude of its difference
 * @param place of the elements of the same magnitude, those before this index in the tensor come
 *     before it; its own index, or 0 if it is the first
 */
public record RankedMagnitude(float magnitude, long place) {}
