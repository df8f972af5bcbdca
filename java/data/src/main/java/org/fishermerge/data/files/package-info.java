/**
 * Which files are which split of a data set, and which of their rows are meant: the rules of
 * Python's {@code datasets}, for folders and for repositories of the hub alike. Start at {@link
 * org.fishermerge.data.files.DatasetSplit}.
 */
@NullMarked
package org.fishermerge.data.files;

import org.jspecify.annotations.NullMarked;
