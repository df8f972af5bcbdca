/**
 * The kernels of Fisher estimation and merging: {@link org.fishermerge.kernels.Kernels} checks
 * operands and runs each operation on the CPU (in plain Java or in the native library) or on a GPU.
 * Operands are off-heap memory segments; nothing here knows files, models or layers.
 */
@NullMarked
package org.fishermerge.kernels;

import org.jspecify.annotations.NullMarked;
