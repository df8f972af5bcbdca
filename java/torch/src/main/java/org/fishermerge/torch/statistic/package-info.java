/** What is summed up over examples of the layers that a backward pass shows. */
@NullMarked
package org.fishermerge.torch.statistic;

import org.jspecify.annotations.NullMarked;
