package org.fishermerge.torch.arch;

import static org.bytedeco.pytorch.global.torch.cat;
import static org.bytedeco.pytorch.global.torch.cross_entropy_loss;
import static org.bytedeco.pytorch.global.torch.gelu;
import static org.bytedeco.pytorch.global.torch.layer_norm;
import static org.bytedeco.pytorch.global.torch.linear;
import static org.bytedeco.pytorch.global.torch.relu;
import static org.bytedeco.pytorch.global.torch.scaled_dot_product_attention;
import static org.bytedeco.pytorch.global.torch.silu;
import static org.bytedeco.pytorch.global.torch.softmax;

import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Adam;
import org.bytedeco.pytorch.AdamOptions;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.torch.nn.ParameterGroup;
import org.fishermerge.torch.runtime.LibTorch;
import org.fishermerge.torch.runtime.Tensors;

/**
 * Ordinary training of an image tower under a frozen head: forward by libtorch's operators as
 * transformers calls them, backward by autograd, Adam. It trains the demo's models, and one {@link
 * #forwardBackward} is the yardstick that the Fisher pass is measured against.
 */
public final class VisionTraining implements AutoCloseable {
  private final ClipConfig.Vision config;
  private final Map<String, Tensor> parameters = new LinkedHashMap<>();
  private final Adam optimizer;

  /**
   * @param start a folder with the tower's config.json and weights to start from
   */
  public VisionTraining(Checkpoint start) {
    this.config = ClipConfig.of(start).vision();
    LibTorch.initialize();
    TensorVector trained = new TensorVector();
    // The tower's own reader checks every shape and tells which parameters there are.
    try (ClipVisionTower tower = ClipVisionTower.load(start)) {
      for (ParameterGroup group : tower.parameterGroups()) {
        for (ParameterGroup.Member parameter : group.parameters()) {
          long[] shape = parameter.shape().stream().mapToLong(Long::longValue).toArray();
          Tensor tensor =
              Tensors.onlyResultOf(() -> Tensors.copyOf(start.floats(parameter.name()), shape));
          tensor.set_requires_grad(true);
          parameters.put(parameter.name(), tensor);
          trained.push_back(tensor);
        }
      }
    }
    this.optimizer = new Adam(trained, new AdamOptions());
  }

  /**
   * One forward and backward pass of the mean cross-entropy; gradients add up until {@link #step}.
   *
   * @param head frozen; borrowed
   * @param pixels fp32 [B, C, H, W]
   * @return the loss
   */
  public double forwardBackward(ZeroShotHead head, MemorySegment pixels, long[] labels) {
    try (PointerScope scope = new PointerScope()) {
      GradMode.set_enabled(true);
      Tensor truth = Tensors.copyOf(labels, labels.length);
      Tensor loss = cross_entropy_loss(logits(head, pixels, labels.length), truth);
      loss.backward();
      return loss.item_double();
    } finally {
      GradMode.set_enabled(false);
    }
  }

  /** Applies the gradients at this learning rate and clears them. */
  public void step(double learningRate) {
    optimizer.param_groups().get(0).options().set_lr(learningRate);
    optimizer.step();
    clearGradients();
  }

  /** Forgets the gradients. */
  public void clearGradients() {
    optimizer.zero_grad();
  }

  /** Copies of the current parameters, by canonical name, each in its own layout. */
  public Map<String, float[]> parameters() {
    Map<String, float[]> copies = new LinkedHashMap<>();
    parameters.forEach((name, tensor) -> copies.put(name, Tensors.floats(tensor.detach())));
    return copies;
  }

  private Tensor logits(ZeroShotHead head, MemorySegment pixels, int examples) {
    ClipConfig.Tower tower = config.tower();
    long width = tower.width();
    long side = config.imageSize();
    Tensor image = Tensors.copyOf(pixels, examples, config.channels(), side, side);
    long[] stride = {config.patchSize(), config.patchSize()};
    Tensor patches =
        torch
            .conv2d(
                image,
                parameter("embeddings.patch_embedding.weight"),
                new TensorOptional(),
                stride,
                new long[] {0, 0},
                new long[] {1, 1},
                1)
            .flatten(2, 3)
            .transpose(1, 2);
    Tensor classToken = parameter("embeddings.class_embedding").expand(examples, 1, width);
    Tensor x =
        cat(new TensorVector(classToken, patches), 1)
            .add(parameter("embeddings.position_embedding.weight"));
    x = norm(x, "pre_layrnorm");
    for (int i = 0; i < tower.layers(); i++) {
      x = block(x, "encoder.layers." + i + ".");
    }
    Tensor pooled = norm(x.select(1, 0), "post_layernorm");
    Tensor features = pooled.matmul(head.projection().t());
    Tensor unit =
        features.div(
            features.mul(features).sum(new long[] {-1}, true, new ScalarTypeOptional()).sqrt());
    return unit.matmul(head.classRows().t()).mul(new Scalar(head.scale()));
  }

  private Tensor block(Tensor input, String name) {
    Tensor h = norm(input, name + "layer_norm1");
    Tensor attended =
        attention(
                heads(dense(h, name + "self_attn.q_proj")),
                heads(dense(h, name + "self_attn.k_proj")),
                heads(dense(h, name + "self_attn.v_proj")))
            .transpose(1, 2)
            .flatten(2, 3);
    Tensor x = input.add(dense(attended, name + "self_attn.out_proj"));
    Tensor z = dense(norm(x, name + "layer_norm2"), name + "mlp.fc1");
    return x.add(dense(activated(z), name + "mlp.fc2"));
  }

  /** The faster of the two on the tensors' device. */
  private static Tensor attention(Tensor query, Tensor key, Tensor value) {
    return query.is_cuda() ? fused(query, key, value) : writtenOut(query, key, value);
  }

  static Tensor fused(Tensor query, Tensor key, Tensor value) {
    return scaled_dot_product_attention(query, key, value);
  }

  /**
   * As transformers' "eager" attention is: on the CPU the backward pass of libtorch's fused one
   * calls OpenBLAS from several threads at once, which wait for each other; at ViT-L/14 that costs
   * five times the whole step.
   */
  static Tensor writtenOut(Tensor query, Tensor key, Tensor value) {
    Tensor scaled = query.mul(new Scalar(1 / Math.sqrt((double) query.size(3))));
    return softmax(scaled.matmul(key.transpose(2, 3)), -1).matmul(value);
  }

  private Tensor activated(Tensor z) {
    return switch (config.tower().activation()) {
      case QUICK_GELU -> z.mul(z.mul(new Scalar(1.702)).sigmoid());
      case GELU -> gelu(z, "none");
      case GELU_TANH -> gelu(z, "tanh");
      case RELU -> relu(z);
      case SILU -> silu(z);
      case TANH -> z.tanh();
    };
  }

  private Tensor heads(Tensor x) {
    int heads = config.tower().heads();
    return x.unflatten(-1, heads, config.tower().width() / heads).transpose(1, 2);
  }

  private Tensor dense(Tensor x, String name) {
    return linear(x, parameter(name + ".weight"), new TensorOptional(parameter(name + ".bias")));
  }

  private Tensor norm(Tensor x, String name) {
    return layer_norm(
        x,
        new long[] {config.tower().width()},
        new TensorOptional(parameter(name + ".weight")),
        new TensorOptional(parameter(name + ".bias")),
        config.tower().epsilon(),
        false);
  }

  private Tensor parameter(String name) {
    Tensor tensor = parameters.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("no parameter " + name);
    }
    return tensor;
  }

  @Override
  public void close() {
    optimizer.close();
    parameters.values().forEach(Tensor::close);
    parameters.clear();
  }
}
