/** What a model's outputs are asked for: from logits to the cotangents that are pulled back. */
@NullMarked
package org.fishermerge.torch.objective;

import org.jspecify.annotations.NullMarked;
