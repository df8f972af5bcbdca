/**
 * Files of models: safetensors, Hugging Face folders with all their settings, adapters, statistic
 * files, and output that appears whole or not at all.
 */
@NullMarked
package org.fishermerge.checkpoint;

import org.jspecify.annotations.NullMarked;
