package org.fishermerge.torch;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.fishermerge.checkpoint.DType;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.torch.runtime.Tensors;
import org.jspecify.annotations.Nullable;

/**
 * One of the inputs of a model, for a batch of examples.
 *
 * @param name for messages
 * @param dtype any that libtorch computes with
 * @param shape [B, ...]
 * @param data row-major, in native byte order
 */
public record InputTensor(String name, DType dtype, List<Long> shape, MemorySegment data) {
  public InputTensor {
    shape = List.copyOf(shape);
  }

  /** A copy that libtorch owns. */
  Tensor toTensor() {
    long[] sizes = shape.stream().mapToLong(Long::longValue).toArray();
    Tensor tensor = torch.empty(sizes).to(scalarType());
    Tensors.segment(tensor).copyFrom(data);
    return tensor;
  }

  /** The dtype of a tensor in a safetensors file; null for one that has none there. */
  static @Nullable DType dtype(Tensor tensor) {
    return switch (tensor.scalar_type().intern()) {
      case Float -> DType.F32;
      case Double -> DType.F64;
      case Half -> DType.F16;
      case BFloat16 -> DType.BF16;
      case Long -> DType.I64;
      case Int -> DType.I32;
      case Short -> DType.I16;
      case Char -> DType.I8;
      case Byte -> DType.U8;
      case Bool -> DType.BOOL;
      default -> null;
    };
  }

  private ScalarType scalarType() {
    return switch (dtype) {
      case F32 -> ScalarType.Float;
      case F64 -> ScalarType.Double;
      case F16 -> ScalarType.Half;
      case BF16 -> ScalarType.BFloat16;
      case I64 -> ScalarType.Long;
      case I32 -> ScalarType.Int;
      case I16 -> ScalarType.Short;
      case I8 -> ScalarType.Char;
      case U8 -> ScalarType.Byte;
      case BOOL -> ScalarType.Bool;
      default ->
          throw new InputException(
              "input "
                  + name
                  + " is "
                  + dtype
                  + "; a TorchScript module takes F32, F64, F16, BF16, I64, I32, I16, I8, U8 or"
                  + " BOOL");
    };
  }
}
