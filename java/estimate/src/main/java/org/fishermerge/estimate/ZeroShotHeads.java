package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.ClipTokenizer;
import org.fishermerge.torch.arch.ClipTextTower;
import org.fishermerge.torch.arch.ZeroShotHead;

/** Zero-shot heads from class names and prompt templates. */
public final class ZeroShotHeads {
  private ZeroShotHeads() {}

  /**
   * Runs every prompt through the text tower. The caller closes the head.
   *
   * @param warnings told what is odd about the tokenizer's files or the prompts but does not stop
   *     their use
   */
  public static ZeroShotHead build(
      Checkpoint clip, ClassPrompts prompts, Consumer<String> warnings) {
    try (ClipTextTower tower = ClipTextTower.load(clip);
        ClipTokenizer tokenizer = ClipTokenizer.open(clip.basePath(), tower.maxTokens())) {
      List<long[][]> ids = new ArrayList<>();
      for (String name : prompts.classNames()) {
        ids.add(tokenizer.encode(prompts.prompts(name)).ids());
      }
      tokenizer.warnings().forEach(warnings);
      float[] weights = tower.classRows(ids);
      return ZeroShotHead.of(clip, weights, ids.size(), prompts.origin());
    }
  }
}
