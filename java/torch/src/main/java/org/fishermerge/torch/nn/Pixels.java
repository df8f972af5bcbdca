package org.fishermerge.torch.nn;

import java.lang.foreign.MemorySegment;

/**
 * Pictures that run together.
 *
 * @param values fp32 [B, C, H, W], preprocessed for the model, off-heap or on-heap; not copied
 */
public record Pixels(MemorySegment values, int examples) implements Batch {}
