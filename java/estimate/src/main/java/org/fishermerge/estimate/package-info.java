/**
 * Estimates Fisher information: which examples, how they run, the memory that they take, progress
 * that is saved. Knows neither commands nor configurations, and prints nothing.
 */
@NullMarked
package org.fishermerge.estimate;

import org.jspecify.annotations.NullMarked;
