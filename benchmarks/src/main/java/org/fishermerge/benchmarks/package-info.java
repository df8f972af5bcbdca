/**
 * Benchmarks whose results are ratios against a physical limit or a peer measured in the same run.
 */
@NullMarked
package org.fishermerge.benchmarks;

import org.jspecify.annotations.NullMarked;
