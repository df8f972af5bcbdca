@NullMarked
package org.fishermerge.torch;

import org.jspecify.annotations.NullMarked;
