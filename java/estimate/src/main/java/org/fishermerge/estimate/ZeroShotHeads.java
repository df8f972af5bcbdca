package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.ClipTokenizer;
import org.fishermerge.torch.arch.ClipTextTower;
import org.fishermerge.torch.arch.ZeroShotHead;

/**
 * Zero-shot heads from class names and prompt templates, by one CLIP model's text tower and
 * tokenizer, which take longer to open than a small head takes to build. Not thread-safe.
 */
public final class ZeroShotHeads implements AutoCloseable {
  private final Checkpoint clip;
  private final ClipTextTower tower;
  private final ClipTokenizer tokenizer;
  private final Consumer<String> warnings;
  private int warned;

  private ZeroShotHeads(
      Checkpoint clip, ClipTextTower tower, ClipTokenizer tokenizer, Consumer<String> warnings) {
    this.clip = clip;
    this.tower = tower;
    this.tokenizer = tokenizer;
    this.warnings = warnings;
  }

  /**
   * Opens the text tower and the tokenizer.
   *
   * @param clip stays open as long as this
   * @param warnings told what is odd about the tokenizer's files or the prompts but does not stop
   *     their use
   */
  public static ZeroShotHeads open(Checkpoint clip, Consumer<String> warnings) {
    ClipTextTower tower = ClipTextTower.load(clip);
    try {
      return new ZeroShotHeads(
          clip, tower, ClipTokenizer.open(clip.basePath(), tower.maxTokens()), warnings);
    } catch (RuntimeException | Error e) {
      tower.close();
      throw e;
    }
  }

  /** Builds one head, as {@link #build(ClassPrompts)} does. */
  public static ZeroShotHead build(
      Checkpoint clip, ClassPrompts prompts, Consumer<String> warnings) {
    try (ZeroShotHeads heads = open(clip, warnings)) {
      return heads.build(prompts);
    }
  }

  /** Runs every prompt through the text tower. The caller closes the head. */
  public ZeroShotHead build(ClassPrompts prompts) {
    List<long[][]> ids = new ArrayList<>();
    for (String name : prompts.classNames()) {
      ids.add(tokenizer.encode(prompts.prompts(name)).ids());
    }
    List<String> odd = tokenizer.warnings();
    odd.subList(warned, odd.size()).forEach(warnings);
    warned = odd.size();
    float[] weights = tower.classRows(ids);
    return ZeroShotHead.of(clip, weights, ids.size(), prompts.origin());
  }

  @Override
  public void close() {
    try (tower) {
      tokenizer.close();
    }
  }
}
