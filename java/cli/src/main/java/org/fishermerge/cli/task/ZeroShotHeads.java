package org.fishermerge.cli.task;

import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.ClipTokenizer;
import org.fishermerge.torch.ClipTextTower;
import org.fishermerge.torch.ZeroShotHead;

/** Zero-shot heads from class names and prompt templates. */
public final class ZeroShotHeads {
  private ZeroShotHeads() {}

  /** Runs every prompt through the text tower. The caller closes the head. */
  public static ZeroShotHead build(Checkpoint clip, ClassPrompts prompts) {
    try (ClipTextTower tower = ClipTextTower.load(clip);
        ClipTokenizer tokenizer = ClipTokenizer.open(clip.path(), tower.maxTokens())) {
      int classes = prompts.classNames().size();
      float[] weights = new float[classes * tower.projectedWidth()];
      for (int c = 0; c < classes; c++) {
        float[] row =
            tower.classRow(tokenizer.encode(prompts.prompts(prompts.classNames().get(c))).ids());
        System.arraycopy(row, 0, weights, c * row.length, row.length);
      }
      return ZeroShotHead.of(clip, weights, classes, prompts.origin());
    }
  }
}
