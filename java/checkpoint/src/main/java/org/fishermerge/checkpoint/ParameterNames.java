package org.fishermerge.checkpoint;

import java.util.List;

/**
 * Canonical parameter names. Versions of transformers disagree on whether the backbone of a model
 * with a head is named in its parameters ({@code vision_model.} for CLIP, {@code transformer.} for
 * GPT-2); both spellings are the same parameter.
 */
public final class ParameterNames {
  private static final List<String> BACKBONES = List.of("vision_model.", "transformer.");

  private ParameterNames() {}

  /** The name without one leading {@code vision_model.} or {@code transformer.}. */
  public static String canonical(String stored) {
    for (String prefix : BACKBONES) {
      if (stored.startsWith(prefix)) {
        return stored.substring(prefix.length());
      }
    }
    return stored;
  }
}
