/** What the commands and the program share: a classifier with its data, and what is run on it. */
@NullMarked
package org.fishermerge.cli.task;

import org.jspecify.annotations.NullMarked;
