@NullMarked
package org.fishermerge.kernels;

import org.jspecify.annotations.NullMarked;
