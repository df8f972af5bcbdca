/**
 * Plans and executes merges of checkpoints, by a rule, with or without statistic files. This is the
 * API that other JVM programs embed: choose a {@link org.fishermerge.merge.MergeRule}, build a
 * {@link org.fishermerge.merge.MergeRequest}, open it as a {@link
 * org.fishermerge.merge.MergeSession}, which validates it, and run that; or several merges of the
 * same files by its {@link org.fishermerge.merge.Merger}. What is read may be in files or in memory
 * ({@link org.fishermerge.checkpoint.NamedTensors}), and so may what is written ({@link
 * org.fishermerge.checkpoint.TensorSink}); rules, checks and results are the same.
 */
@NullMarked
package org.fishermerge.merge;

import org.jspecify.annotations.NullMarked;
