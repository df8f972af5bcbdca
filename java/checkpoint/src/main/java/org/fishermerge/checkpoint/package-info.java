@NullMarked
package org.fishermerge.checkpoint;

import org.jspecify.annotations.NullMarked;
