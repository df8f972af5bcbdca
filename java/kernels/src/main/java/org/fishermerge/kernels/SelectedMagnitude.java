package org.fishermerge.kernels;

/**
 * A magnitude that has some rank among others; NaN counts as infinity.
 *
 * @param magnitude itself
 * @param below how many are smaller
 * @param equal how many are equal to it
 */
record SelectedMagnitude(float magnitude, long below, long equal) {}
