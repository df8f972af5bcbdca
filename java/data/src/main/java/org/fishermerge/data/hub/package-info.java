/**
 * Models and data sets of a Hugging Face hub, through the cache on disk that Python's {@code
 * huggingface_hub} uses too. Start at {@link org.fishermerge.data.hub.Hub}.
 */
@NullMarked
package org.fishermerge.data.hub;

import org.jspecify.annotations.NullMarked;
