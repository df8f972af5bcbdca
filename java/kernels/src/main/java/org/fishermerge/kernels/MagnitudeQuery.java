package org.fishermerge.kernels;

/**
 * Asks for the element of a rank among the magnitudes of the differences {@code values - base},
 * rounded to F32. Of equal magnitudes the one of lower index comes first.
 *
 * @param values at least {@code count} elements, off-heap in the process's memory
 * @param base the same
 * @param count number of elements, at least 1
 * @param descending whether the largest has rank 0, and not the smallest
 * @param rank from 0 to before {@code count}
 */
public record MagnitudeQuery(
    TypedValues values, TypedValues base, long count, boolean descending, long rank) {}
