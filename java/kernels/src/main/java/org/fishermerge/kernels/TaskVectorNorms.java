package org.fishermerge.kernels;

/**
 * L1 norms of a task vector, in double.
 *
 * @param all of all differences
 * @param kept of those that are kept, without their rescaling
 */
public record TaskVectorNorms(double all, double kept) {}
