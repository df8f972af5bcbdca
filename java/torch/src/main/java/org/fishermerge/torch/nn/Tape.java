package org.fishermerge.torch.nn;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * What one forward pass saved for its backward passes: a stack that each layer pushes to on the way
 * forward, and reads in reverse order on the way back. It can be read any number of times, also for
 * some of the examples only; the last reading frees it on the way. On the way forward it hands the
 * inputs of linear layers to whoever wants to see them. Not thread-safe.
 */
public final class Tape implements AutoCloseable {
  private final @Nullable LayerVisitor inputs;
  private boolean recording;
  private boolean showing;
  private final List<Tensor[]> entries = new ArrayList<>();
  private @Nullable Tensor mask;
  private @Nullable Tensor realTokens;
  private long largest;
  private int next;
  private @Nullable Tensor examples;
  private boolean last;

  private Tape(boolean recording, @Nullable LayerVisitor inputs) {
    this.recording = recording;
    this.inputs = inputs;
    this.showing = inputs != null;
  }

  /** For a forward pass that will be pulled back. */
  public static Tape recording() {
    return new Tape(true, null);
  }

  /** For inference: keeps nothing. */
  public static Tape inference() {
    return new Tape(false, null);
  }

  /**
   * For a forward pass that shows the inputs of linear layers.
   *
   * @param inputs is shown a {@link LayerVisit.Input} of each, with all tokens
   * @param recording whether the pass will be pulled back too
   */
  public static Tape showing(LayerVisitor inputs, boolean recording) {
    return new Tape(recording, inputs);
  }

  /** Whether inputs of linear layers are wanted here. */
  boolean isShowing() {
    return showing;
  }

  /** Whether the pass will be pulled back. */
  boolean isRecording() {
    return recording;
  }

  /** Shows the input of a linear layer, [B, T, I]. */
  void show(ParameterGroup weight, boolean transposed, Tensor input) {
    if (showing && inputs != null) {
      // Where only one token of each example is left, that is a real one.
      Tensor real = realTokens == null || realTokens.size(1) != input.size(1) ? null : realTokens;
      inputs.visit(new LayerVisit.Input(weight, transposed, input, real));
    }
  }

  /** Runs layers that show their inputs and leave nothing behind. */
  Tensor showingOnly(Supplier<Tensor> layers) {
    boolean before = recording;
    recording = false;
    try {
      return layers.get();
    } finally {
      recording = before;
    }
  }

  /** Runs layers whose inputs were shown already. */
  Tensor recordingOnly(Supplier<Tensor> layers) {
    boolean before = showing;
    showing = false;
    try {
      return layers.get();
    } finally {
      showing = before;
    }
  }

  /**
   * What the attention layers of this pass add to their scores: 0, or -infinity where a token does
   * not see another, broadcast to [B, H, T, T]. Null where every token sees all, and when the
   * forward pass is over.
   */
  void attentionMask(@Nullable Tensor added) {
    if (mask != null) {
      mask.close();
    }
    mask = added == null ? null : Tensors.retain(added);
  }

  @Nullable Tensor attentionMask() {
    return mask;
  }

  /** Says which tokens are no padding: fp32 [B, T], 1 for those and 0 for others. */
  void realTokens(Tensor ones) {
    if (recording || showing) {
      realTokens = Tensors.retain(ones);
    }
  }

  /**
   * Which tokens are no padding, fp32 [B, T]; null where all are real. Valid until it is closed.
   */
  public @Nullable Tensor realTokens() {
    return realTokens;
  }

  /**
   * Keeps tensors of the forward pass.
   *
   * @param tensors each with the examples as its first dimension
   */
  public void save(Tensor... tensors) {
    if (!recording) {
      return;
    }
    for (Tensor tensor : tensors) {
      largest = Math.max(largest, tensor.numel() * tensor.element_size());
      Tensors.retain(tensor);
    }
    entries.add(tensors.clone());
    next = entries.size();
  }

  /**
   * Bytes of the largest tensor that was saved, about what one probe's backward pass needs at once.
   */
  public long largestBytes() {
    return largest;
  }

  /**
   * Goes to the end, for another way back.
   *
   * @param examples which examples will be read, int64 [n], rising; null for all
   * @param last whether what was read may be freed
   */
  public void rewind(@Nullable Tensor examples, boolean last) {
    if (!recording || entries.isEmpty()) {
      throw new IllegalStateException("backward without a forward pass");
    }
    this.examples = examples;
    this.last = last;
    next = entries.size();
  }

  /**
   * The tensors of the layer that saved last and was not read yet. They may be used until the next
   * call, or in the caller's scope where only some examples are read.
   */
  public Tensor[] read() {
    freeRead();
    Tensor[] saved = entries.get(--next);
    if (examples == null) {
      return saved;
    }
    Tensor[] some = new Tensor[saved.length];
    for (int i = 0; i < saved.length; i++) {
      some[i] = Tensors.entries(saved[i], examples);
    }
    return some;
  }

  private void freeRead() {
    while (last && entries.size() > next) {
      free(entries.removeLast());
    }
  }

  private static void free(Tensor[] tensors) {
    for (Tensor tensor : tensors) {
      tensor.close();
    }
  }

  @Override
  public void close() {
    attentionMask(null);
    if (realTokens != null) {
      realTokens.close();
      realTokens = null;
    }
    entries.forEach(Tape::free);
    entries.clear();
    next = 0;
  }
}
