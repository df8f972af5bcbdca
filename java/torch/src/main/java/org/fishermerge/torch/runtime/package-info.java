/** libtorch itself: where it runs, in which precision, and how its memory meets ours. */
@NullMarked
package org.fishermerge.torch.runtime;

import org.jspecify.annotations.NullMarked;
