/**
 * Plans and executes merges of checkpoints, with or without Fisher files. This is the API that
 * other JVM programs embed: build a {@link org.fishermerge.merge.MergeRequest}, validate it with
 * {@link org.fishermerge.merge.MergePlan#of}, execute it with {@link
 * org.fishermerge.merge.Merger#run}.
 */
@NullMarked
package org.fishermerge.merge;

import org.jspecify.annotations.NullMarked;
