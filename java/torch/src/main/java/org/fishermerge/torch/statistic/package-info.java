/** What is summed up over examples of the layers that forward and backward passes show. */
@NullMarked
package org.fishermerge.torch.statistic;

import org.jspecify.annotations.NullMarked;
