/**
 * Architectures: what a model folder's config.json makes of the layers of {@link
 * org.fishermerge.torch.nn}, one file for each model type.
 */
@NullMarked
package org.fishermerge.torch.arch;

import org.jspecify.annotations.NullMarked;
