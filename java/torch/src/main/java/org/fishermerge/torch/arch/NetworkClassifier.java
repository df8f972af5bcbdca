package org.fishermerge.torch.arch;

import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.fishermerge.torch.Classifier;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.nn.Batch;
import org.fishermerge.torch.nn.Layer;
import org.fishermerge.torch.nn.LayerVisitor;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.nn.Tape;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * A network under a head that gives class logits. Borrows both; not thread-safe.
 *
 * @param head takes the network's output, one token an example, to logits [B, 1, K]; runs in fp32
 *     whatever the precision
 * @param classCount K
 * @param studied the parameters whose statistics are wanted
 */
public record NetworkClassifier<I extends Batch>(
    Network<I> network, Layer head, int classCount, List<ParameterGroup> studied)
    implements Classifier {
  public NetworkClassifier {
    studied = List.copyOf(studied);
  }

  @Override
  public List<ParameterGroup> parameterGroups() {
    return studied;
  }

  /** The same head on another network, all of whose parameters are studied. */
  NetworkClassifier<I> on(Network<I> other) {
    return new NetworkClassifier<>(other, head, classCount, other.parameters());
  }

  /** Class logits, row-major [B, K], in the process's memory: for inference. */
  public float[] logits(I batch) {
    try (PointerScope scope = new PointerScope()) {
      return Tensors.floats(logits(batch, Tape.inference()));
    }
  }

  private Tensor logits(I batch, Tape tape) {
    return Tensors.scoped(() -> {
      Tensor output = network.forward(batch, tape);
      return LibTorch.exactly(() -> head.forward(output, tape)).flatten(0, 1);
    });
  }

  /**
   * Runs a batch and keeps its activations.
   *
   * @return to be closed by the caller
   */
  public ForwardPass forward(I batch) {
    return forward(batch, ForwardPass.Wanted.BACKWARD);
  }

  /**
   * Runs a batch.
   *
   * @return to be closed by the caller; can be pulled back only if that is wanted
   */
  public ForwardPass forward(I batch, ForwardPass.Wanted wanted) {
    Tape tape = tape(wanted);
    try (PointerScope scope = new PointerScope()) {
      return new Pass(Tensors.retain(logits(batch, tape)), tape);
    } catch (RuntimeException | Error e) {
      tape.close();
      throw e;
    }
  }

  private static Tape tape(ForwardPass.Wanted wanted) {
    LayerVisitor inputs = wanted.inputs();
    if (inputs != null) {
      return Tape.showing(inputs, wanted.backward());
    }
    return wanted.backward() ? Tape.recording() : Tape.inference();
  }

  private final class Pass extends ForwardPass {
    private final Tape tape;

    Pass(Tensor logits, Tape tape) {
      super(logits);
      this.tape = tape;
    }

    @Override
    public long bytesPerProbe() {
      return tape.largestBytes();
    }

    @Override
    public @Nullable Tensor realTokens() {
      return tape.realTokens();
    }

    @Override
    public void backward(
        Tensor logitCotangents, @Nullable Tensor examples, LayerVisitor visitor, boolean last) {
      try (PointerScope scope = new PointerScope()) {
        tape.rewind(examples, last);
        Tensor output =
            LibTorch.exactly(() -> head.backward(logitCotangents.unsqueeze(2), tape, visitor));
        network.backward(output, tape, visitor);
      }
    }

    @Override
    public void close() {
      super.close();
      tape.close();
    }
  }
}
