/**
 * Searches of the merge whose predictions diverge least from each model's own, for commands and
 * configured runs alike.
 */
@NullMarked
package org.fishermerge.cli.tune;

import org.jspecify.annotations.NullMarked;
