/**
 * Plans and executes merges of checkpoints, with or without Fisher files. This is the API that
 * other JVM programs embed: build a {@link org.fishermerge.merge.MergeRequest}, validate it with
 * {@link org.fishermerge.merge.MergePlan#of}, execute it with {@link
 * org.fishermerge.merge.Merger#run}, or several of the same files in a {@link
 * org.fishermerge.merge.MergeSession}.
 */
@NullMarked
package org.fishermerge.merge;

import org.jspecify.annotations.NullMarked;
