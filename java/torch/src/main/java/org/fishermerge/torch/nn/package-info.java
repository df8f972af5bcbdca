/**
 * Layers with a forward and a written-out backward pass. Backward pushes the cotangents of several
 * probes through one saved forward pass, computes no weight gradients, and shows each layer's input
 * and output cotangent to a {@link org.fishermerge.torch.nn.LayerVisitor}.
 *
 * <p>B is the number of examples, T of tokens, V of probes. Activations are fp32 [B, T, features],
 * cotangents [V, B, T, features].
 */
@NullMarked
package org.fishermerge.torch.nn;

import org.jspecify.annotations.NullMarked;
