package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * Kernels in plain Java with double accumulators: the reference for tests of the native kernels,
 * and the fallback where no native library loads. All but the squares of weight gradients give the
 * bits of the native kernels.
 */
final class ScalarKernels implements KernelProvider {
  private static final int PARTIAL_SUMS = 16;
  private static final int PAIR_BLOCK = 256;
  private static final int PAIR_PARTIAL_SUMS = 8;

  @Override
  public Provider provider() {
    return Provider.SCALAR;
  }

  @Override
  public boolean isNative() {
    return false;
  }

  @Override
  public String isa() {
    return "java";
  }

  @Override
  public RangeWork weightedAverage(WeightedAverage average, Arena arena) {
    List<WeightedInput> inputs = average.inputs();
    MemorySegment out = average.out();
    ElementType outType = average.outType();
    TypedValues base = average.base();
    return (worker, begin, end) -> {
      for (long j = begin; j < end; j++) {
        double numerator = 0;
        double denominator = 0;
        for (int i = 0; i < inputs.size(); i++) {
          WeightedInput input = inputs.get(i);
          MemorySegment fisher = input.fisher();
          double weight =
              fisher == null
                  ? input.offset()
                  : input.scale() * get(fisher, input.fisherType(), j) + input.offset();
          double term = weight * get(input.values(), input.valueType(), j);
          // The first term starts the sum: adding it to 0 would lose the sign of -0.
          numerator = i == 0 ? term : numerator + term;
          denominator = i == 0 ? weight : denominator + weight;
        }
        double result = numerator / denominator;
        double s = average.scalingFactor();
        if (base == null) {
          result = s * result;
        } else {
          double from = get(base.data(), base.type(), j);
          result = from + s * (result - from);
        }
        set(out, outType, j, result);
      }
    };
  }

  @Override
  public ValueStatistics statistics(
      MemorySegment x, ElementType type, long begin, long end, double threshold) {
    double[] partial = new double[PARTIAL_SUMS];
    double minimum = Double.POSITIVE_INFINITY;
    long below = 0;
    for (long j = begin; j < end; j++) {
      double value = get(x, type, j);
      partial[(int) ((j - begin) % PARTIAL_SUMS)] += value * value;
      minimum = value < minimum ? value : minimum;
      below += value < threshold ? 1 : 0;
    }
    return new ValueStatistics(tree(partial), minimum, below);
  }

  @Override
  public void pairSums(List<TypedValues> rows, long begin, long end, PairSums sums) {
    double[][] block = new double[rows.size()][PAIR_BLOCK];
    for (long from = begin; from < end; from += PAIR_BLOCK) {
      int count = (int) Math.min(PAIR_BLOCK, end - from);
      for (int p = 0; p < block.length; p++) {
        TypedValues row = rows.get(p);
        for (int k = 0; k < count; k++) {
          block[p][k] = get(row.data(), row.type(), from + k);
        }
      }
      addPairs(block, count, sums.products());
      for (double[] row : block) {
        for (int k = 0; k < count; k++) {
          row[k] = Math.sqrt(row[k]);
        }
      }
      addPairs(block, count, sums.roots());
    }
  }

  private static void addPairs(double[][] block, int count, double[] sums) {
    double[] partial = new double[PAIR_PARTIAL_SUMS];
    int pair = 0;
    for (int p = 0; p < block.length; p++) {
      for (int q = 0; q <= p; q++) {
        double[] x = block[p];
        double[] y = block[q];
        Arrays.fill(partial, 0);
        for (int k = 0; k < count; k++) {
          partial[k % PAIR_PARTIAL_SUMS] += x[k] * y[k];
        }
        sums[pair++] += tree(partial);
      }
    }
  }

  private static double tree(double[] partial) {
    for (int half = partial.length / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; l++) {
        partial[l] += partial[l + half];
      }
    }
    return partial[0];
  }

  static float difference(TypedValues values, TypedValues base, long j) {
    return (float) (get(values.data(), values.type(), j) - get(base.data(), base.type(), j));
  }

  @Override
  public RangeWork taskVectors(TaskVectorMix mix, Arena arena) {
    float weights = 0;
    for (TaskVector vector : mix.vectors()) {
      weights += (float) vector.weight();
    }
    float sumOfWeights = Math.abs(weights) < 1e-8F ? 1 : weights;
    return (worker, begin, end) -> {
      for (long j = begin; j < end; j++) {
        double base = get(mix.base().data(), mix.base().type(), j);
        set(mix.out(), mix.outType(), j, base + mixed(mix, j, sumOfWeights));
      }
    };
  }

  private static float mixed(TaskVectorMix mix, long j, float sumOfWeights) {
    float[] sums = new float[3]; // of all, of those above 0, of those below
    float[] weights = new float[3];
    for (int i = 0; i < mix.vectors().size(); i++) {
      float term = mix.term(i, j);
      sums[0] += term;
      int side = term > 0 ? 1 : term < 0 ? 2 : 0;
      if (side > 0) {
        sums[side] += term;
        weights[side] += (float) mix.vectors().get(i).weight();
      }
    }
    if (!Float.isFinite(sums[0])) {
      return Float.NaN;
    }
    int elected = sums[0] >= 0 ? 1 : 2;
    float result =
        switch (mix.how()) {
          case SUM -> sums[0];
          case MEAN -> sums[0] / sumOfWeights;
          case ELECTED_SUM -> sums[elected];
          case ELECTED_MEAN -> sums[elected] / (weights[elected] == 0 ? 1 : weights[elected]);
        };
    return result * (float) mix.factor();
  }

  @Override
  public MagnitudeScan magnitudes(TypedValues values, TypedValues base, Arena arena) {
    return new MagnitudeScan() {
      @Override
      public Counts scan(float low, float high, MemorySegment found, long begin, long end) {
        long below = 0;
        long atLow = 0;
        long between = 0;
        long atHigh = 0;
        for (long j = begin; j < end; j++) {
          float m = Math.abs(difference(values, base, j));
          below += m < low ? 1 : 0;
          atLow += m == low ? 1 : 0;
          atHigh += m == high ? 1 : 0;
          if (m > low && m < high) {
            setFloat(found, between++, m);
          }
        }
        return new Counts(below, atLow, between, atHigh);
      }

      @Override
      public void sample(MemorySegment places, long groups, MemorySegment sample) {
        for (long k = 0; k < groups * GROUP; k++) {
          long j = places.getAtIndex(JAVA_LONG, k / GROUP) + k % GROUP;
          setFloat(sample, k, Math.abs(difference(values, base, j)));
        }
      }
    };
  }

  @Override
  public SelectedMagnitude selectMagnitude(
      MemorySegment magnitudes, long count, long rank, float least, float most) {
    float[] sorted = magnitudes.asSlice(0, count * Float.BYTES).toArray(JAVA_FLOAT);
    for (int k = 0; k < sorted.length; k++) {
      sorted[k] = Float.isNaN(sorted[k]) ? Float.POSITIVE_INFINITY : sorted[k];
    }
    Arrays.sort(sorted);
    int first = (int) rank;
    int end = first;
    while (first > 0 && sorted[first - 1] == sorted[(int) rank]) {
      first--;
    }
    while (end < sorted.length && sorted[end] == sorted[(int) rank]) {
      end++;
    }
    return new SelectedMagnitude(sorted[(int) rank], first, end - first);
  }

  @Override
  public long countEqual(MemorySegment numbers, long count, float number) {
    long equal = 0;
    for (long k = 0; k < count; k++) {
      equal += getFloat(numbers, k) == number ? 1 : 0;
    }
    return equal;
  }

  @Override
  public TaskVectorNorms taskVectorNorms(
      TaskVector vector, TypedValues base, long first, long begin, long end) {
    TypedValues values = new TypedValues(vector.values(), vector.type());
    double[] all = new double[PARTIAL_SUMS];
    double[] kept = new double[PARTIAL_SUMS];
    for (long j = begin; j < end; j++) {
      float delta = difference(values, base, j);
      int partial = (int) ((j - begin) % PARTIAL_SUMS);
      all[partial] += Math.abs(delta);
      kept[partial] += vector.kept().keeps(delta, first + j) ? Math.abs(delta) : 0;
    }
    return new TaskVectorNorms(tree(all), tree(kept));
  }

  @Override
  public RangeWork addSquares(MemorySegment gradient, double scale, MemorySegment fisher) {
    return (worker, begin, end) -> {
      for (long j = begin; j < end; j++) {
        double g = getFloat(gradient, j);
        setFloat(fisher, j, getFloat(fisher, j) + scale * (g * g));
      }
    };
  }

  @Override
  public long squaredGradientsBytes(Batch batch, long inputs, int threads) {
    return 0;
  }

  @Override
  public List<WorkerPool.Step> squaredGradients(
      Batch batch,
      Activations a,
      long inputs,
      MemorySegment fisher,
      MemorySegment workspace,
      int threads,
      Arena arena) {
    RangeWork rows =
        (worker, begin, end) -> {
          double[] sum = new double[Math.toIntExact(inputs)];
          for (long o = begin; o < end; o++) {
            for (int b = 0; b < batch.shape().examples(); b++) {
              for (int v = 0; v < batch.shape().probes(); v++) {
                Arrays.fill(sum, 0);
                for (int t = 0; t < batch.shape().tokens(); t++) {
                  double g = getFloat(batch.g().data(), rowOf(batch.g(), v, b, t) + o);
                  long row = rowOf(a, b, t);
                  for (int i = 0; i < sum.length; i++) {
                    sum[i] += g * getFloat(a.data(), row + i);
                  }
                }
                double weight = weight(batch, v, b);
                for (int i = 0; i < sum.length; i++) {
                  addSquare(fisher, o * inputs + i, weight, sum[i]);
                }
              }
            }
          }
        };
    return List.of(new WorkerPool.Step(batch.width(), 1, rows));
  }

  @Override
  public RangeWork addTokenSumSquares(Batch batch, MemorySegment fisher, Arena arena) {
    return (worker, begin, end) -> {
      for (long o = begin; o < end; o++) {
        for (int b = 0; b < batch.shape().examples(); b++) {
          for (int v = 0; v < batch.shape().probes(); v++) {
            double sum = 0;
            for (int t = 0; t < batch.shape().tokens(); t++) {
              sum += getFloat(batch.g().data(), rowOf(batch.g(), v, b, t) + o);
            }
            addSquare(fisher, o, weight(batch, v, b), sum);
          }
        }
      }
    };
  }

  @Override
  public RangeWork addLayerNormSquares(
      Batch batch,
      Activations x,
      MemorySegment mean,
      MemorySegment rstd,
      MemorySegment fisherScale,
      MemorySegment fisherShift,
      Arena arena) {
    int tokens = batch.shape().tokens();
    return (worker, begin, end) -> {
      for (long d = begin; d < end; d++) {
        for (int b = 0; b < batch.shape().examples(); b++) {
          for (int v = 0; v < batch.shape().probes(); v++) {
            double scale = 0;
            double shift = 0;
            for (int t = 0; t < tokens; t++) {
              double g = getFloat(batch.g().data(), rowOf(batch.g(), v, b, t) + d);
              long position = (long) b * tokens + t;
              double normalized =
                  ((double) getFloat(x.data(), rowOf(x, b, t) + d) - getFloat(mean, position))
                      * getFloat(rstd, position);
              scale += g * normalized;
              shift += g;
            }
            addSquare(fisherScale, d, weight(batch, v, b), scale);
            addSquare(fisherShift, d, weight(batch, v, b), shift);
          }
        }
      }
    };
  }

  @Override
  public RangeWork addEmbeddingSquares(
      Batch batch, MemorySegment ids, long rows, MemorySegment fisher, Arena arena) {
    int tokens = batch.shape().tokens();
    return (worker, begin, end) -> {
      double[] sum = new double[Math.toIntExact(end - begin)];
      for (int b = 0; b < batch.shape().examples(); b++) {
        for (int v = 0; v < batch.shape().probes(); v++) {
          for (int t = 0; t < tokens; t++) {
            long id = id(ids, tokens, b, t);
            if (seenBefore(ids, tokens, b, t)) {
              continue;
            }
            Arrays.fill(sum, 0);
            for (int same = t; same < tokens; same++) {
              if (id(ids, tokens, b, same) == id) {
                long row = rowOf(batch.g(), v, b, same) + begin;
                for (int k = 0; k < sum.length; k++) {
                  sum[k] += getFloat(batch.g().data(), row + k);
                }
              }
            }
            for (int k = 0; k < sum.length; k++) {
              addSquare(fisher, id * batch.width() + begin + k, weight(batch, v, b), sum[k]);
            }
          }
        }
      }
    };
  }

  private static boolean seenBefore(MemorySegment ids, int tokens, int example, int token) {
    for (int earlier = 0; earlier < token; earlier++) {
      if (id(ids, tokens, example, earlier) == id(ids, tokens, example, token)) {
        return true;
      }
    }
    return false;
  }

  private static long id(MemorySegment ids, int tokens, int example, int token) {
    return ids.get(JAVA_LONG_UNALIGNED, 8 * ((long) example * tokens + token));
  }

  private static long rowOf(Cotangents g, int probe, int example, int token) {
    return probe * g.probeStride() + example * g.exampleStride() + token * g.tokenStride();
  }

  private static long rowOf(Activations a, int example, int token) {
    return example * a.exampleStride() + token * a.tokenStride();
  }

  private static double weight(Batch batch, int probe, int example) {
    MemorySegment weights = batch.weights();
    return weights == null ? 1 : getFloat(weights, probe * batch.weightStride() + example);
  }

  /**
   * Rounds to float after each example, so that a sequence of examples gives the same bits however
   * it is batched.
   */
  private static void addSquare(MemorySegment fisher, long index, double weight, double sum) {
    setFloat(fisher, index, getFloat(fisher, index) + weight * (sum * sum));
  }

  private static float getFloat(MemorySegment x, long index) {
    return x.get(JAVA_FLOAT_UNALIGNED, 4 * index);
  }

  private static void setFloat(MemorySegment x, long index, double value) {
    x.set(JAVA_FLOAT_UNALIGNED, 4 * index, (float) value);
  }

  private static double get(MemorySegment x, ElementType type, long index) {
    return switch (type) {
      case F32 -> x.get(JAVA_FLOAT_UNALIGNED, 4 * index);
      case F16 -> Float.float16ToFloat(x.get(JAVA_SHORT_UNALIGNED, 2 * index));
      case BF16 -> Float16.fromBf16(x.get(JAVA_SHORT_UNALIGNED, 2 * index));
      case F64 -> x.get(JAVA_DOUBLE_UNALIGNED, 8 * index);
    };
  }

  private static void set(MemorySegment x, ElementType type, long index, double value) {
    switch (type) {
      case F32 -> x.set(JAVA_FLOAT_UNALIGNED, 4 * index, (float) value);
      case F16 -> x.set(JAVA_SHORT_UNALIGNED, 2 * index, Float16.toF16(value));
      case BF16 -> x.set(JAVA_SHORT_UNALIGNED, 2 * index, Float16.toBf16(value));
      case F64 -> x.set(JAVA_DOUBLE_UNALIGNED, 8 * index, value);
    }
  }
}
