@NullMarked
package org.fishermerge.kernels.cuda;

import org.jspecify.annotations.NullMarked;
