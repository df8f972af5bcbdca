package org.fishermerge.kernels;

/**
 * Differences {@code values - base}, rounded to F32, that are counted by their magnitudes.
 *
 * @param values at least {@code count} elements, off-heap in the process's memory
 * @param base the same
 * @param count number of elements
 * @param into counts them, and may count others
 */
public record CountedDifferences(
    TypedValues values, TypedValues base, long count, MagnitudeCounts into) {}
