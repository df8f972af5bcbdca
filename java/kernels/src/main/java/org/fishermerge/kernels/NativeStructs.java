package org.fishermerge.kernels;

import static java.lang.foreign.MemoryLayout.PathElement.groupElement;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The structs of {@code fisher_kernels.h} and {@code fisher_kernels_cuda.h}, field by field under
 * the names that they have there. Pointers are plain addresses. That the headers have these sizes
 * and offsets is asserted in {@code native/tests/struct_layouts.cc}, and a test compares the two.
 *
 * <p>Structs are read and written at offsets that are taken from the layouts by name; those that
 * kernels take are answered as addresses and live as long as the arena.
 */
final class NativeStructs {
  /** {@code FM_FOUND_SLACK}. */
  static final int FOUND_SLACK = 16;

  /** {@code FM_SAMPLE_GROUP}. */
  static final int SAMPLE_GROUP = 16;

  /** {@code FM_PAIR_SUMS_SCRATCH}. */
  static final long PAIR_SUMS_SCRATCH = 272;

  /** {@code FM_INVALID_ARGUMENT}. */
  static final int INVALID_ARGUMENT = 1;

  /** {@code FMC_OUT_OF_MEMORY}. */
  static final int OUT_OF_MEMORY = 17;

  private static final StructLayout WEIGHTED_INPUT =
      struct(
          "fm_weighted_input",
          JAVA_LONG.withName("values"),
          JAVA_LONG.withName("fisher"),
          JAVA_DOUBLE.withName("scale"),
          JAVA_DOUBLE.withName("offset"),
          JAVA_INT.withName("value_type"),
          JAVA_INT.withName("fisher_type"));

  private static final long INPUT_VALUES = offset(WEIGHTED_INPUT, "values");
  private static final long INPUT_FISHER = offset(WEIGHTED_INPUT, "fisher");
  private static final long INPUT_SCALE = offset(WEIGHTED_INPUT, "scale");
  private static final long INPUT_OFFSET = offset(WEIGHTED_INPUT, "offset");
  private static final long INPUT_VALUE_TYPE = offset(WEIGHTED_INPUT, "value_type");
  private static final long INPUT_FISHER_TYPE = offset(WEIGHTED_INPUT, "fisher_type");

  static final StructLayout VALUE_STATISTICS =
      struct(
          "fm_value_statistics",
          JAVA_DOUBLE.withName("sum_of_squares"),
          JAVA_DOUBLE.withName("minimum"),
          JAVA_LONG.withName("below"));

  private static final long STATISTICS_SUM = offset(VALUE_STATISTICS, "sum_of_squares");
  private static final long STATISTICS_MINIMUM = offset(VALUE_STATISTICS, "minimum");
  private static final long STATISTICS_BELOW = offset(VALUE_STATISTICS, "below");

  private static final StructLayout VALUES =
      struct(
          "fm_values",
          JAVA_LONG.withName("data"),
          JAVA_INT.withName("type"),
          MemoryLayout.paddingLayout(4));

  private static final long VALUES_DATA = offset(VALUES, "data");
  private static final long VALUES_TYPE = offset(VALUES, "type");

  private static final StructLayout TASK_VECTOR =
      struct(
          "fm_task_vector",
          JAVA_LONG.withName("values"),
          JAVA_DOUBLE.withName("weight"),
          JAVA_DOUBLE.withName("rescale"),
          JAVA_LONG.withName("least_from"),
          JAVA_LONG.withName("least_until"),
          JAVA_LONG.withName("most_until"),
          JAVA_LONG.withName("seed"),
          JAVA_LONG.withName("share"),
          JAVA_FLOAT.withName("least"),
          JAVA_FLOAT.withName("most"),
          JAVA_INT.withName("value_type"),
          MemoryLayout.paddingLayout(4));

  private static final long VECTOR_VALUES = offset(TASK_VECTOR, "values");
  private static final long VECTOR_WEIGHT = offset(TASK_VECTOR, "weight");
  private static final long VECTOR_RESCALE = offset(TASK_VECTOR, "rescale");
  private static final long VECTOR_LEAST_FROM = offset(TASK_VECTOR, "least_from");
  private static final long VECTOR_LEAST_UNTIL = offset(TASK_VECTOR, "least_until");
  private static final long VECTOR_MOST_UNTIL = offset(TASK_VECTOR, "most_until");
  private static final long VECTOR_SEED = offset(TASK_VECTOR, "seed");
  private static final long VECTOR_SHARE = offset(TASK_VECTOR, "share");
  private static final long VECTOR_LEAST = offset(TASK_VECTOR, "least");
  private static final long VECTOR_MOST = offset(TASK_VECTOR, "most");
  private static final long VECTOR_VALUE_TYPE = offset(TASK_VECTOR, "value_type");

  static final StructLayout MAGNITUDE_COUNTS =
      struct(
          "fm_magnitude_counts",
          JAVA_LONG.withName("below"),
          JAVA_LONG.withName("at_low"),
          JAVA_LONG.withName("between"),
          JAVA_LONG.withName("at_high"));

  private static final long COUNTS_BELOW = offset(MAGNITUDE_COUNTS, "below");
  private static final long COUNTS_AT_LOW = offset(MAGNITUDE_COUNTS, "at_low");
  private static final long COUNTS_BETWEEN = offset(MAGNITUDE_COUNTS, "between");
  private static final long COUNTS_AT_HIGH = offset(MAGNITUDE_COUNTS, "at_high");

  static final StructLayout SELECTED_MAGNITUDE =
      struct(
          "fm_selected_magnitude",
          JAVA_LONG.withName("below"),
          JAVA_LONG.withName("equal"),
          JAVA_FLOAT.withName("magnitude"),
          MemoryLayout.paddingLayout(4));

  private static final long SELECTED_BELOW = offset(SELECTED_MAGNITUDE, "below");
  private static final long SELECTED_EQUAL = offset(SELECTED_MAGNITUDE, "equal");
  private static final long SELECTED = offset(SELECTED_MAGNITUDE, "magnitude");

  private static final StructLayout COTANGENTS =
      struct(
          "fm_cotangents",
          JAVA_LONG.withName("data"),
          JAVA_LONG.withName("probe_stride"),
          JAVA_LONG.withName("example_stride"),
          JAVA_LONG.withName("token_stride"),
          JAVA_LONG.withName("weights"),
          JAVA_LONG.withName("weight_probe_stride"),
          JAVA_LONG.withName("probes"),
          JAVA_LONG.withName("examples"),
          JAVA_LONG.withName("tokens"),
          JAVA_LONG.withName("width"));

  private static final int G_DATA = index(COTANGENTS, "data");
  private static final int G_PROBE_STRIDE = index(COTANGENTS, "probe_stride");
  private static final int G_EXAMPLE_STRIDE = index(COTANGENTS, "example_stride");
  private static final int G_TOKEN_STRIDE = index(COTANGENTS, "token_stride");
  private static final int G_WEIGHTS = index(COTANGENTS, "weights");
  private static final int G_WEIGHT_PROBE_STRIDE = index(COTANGENTS, "weight_probe_stride");
  private static final int G_PROBES = index(COTANGENTS, "probes");
  private static final int G_EXAMPLES = index(COTANGENTS, "examples");
  private static final int G_TOKENS = index(COTANGENTS, "tokens");
  private static final int G_WIDTH = index(COTANGENTS, "width");

  private static final StructLayout ACTIVATIONS =
      struct(
          "fm_activations",
          JAVA_LONG.withName("data"),
          JAVA_LONG.withName("example_stride"),
          JAVA_LONG.withName("token_stride"),
          JAVA_LONG.withName("width"));

  private static final int A_DATA = index(ACTIVATIONS, "data");
  private static final int A_EXAMPLE_STRIDE = index(ACTIVATIONS, "example_stride");
  private static final int A_TOKEN_STRIDE = index(ACTIVATIONS, "token_stride");
  private static final int A_WIDTH = index(ACTIVATIONS, "width");

  static final StructLayout SQUARED_GRADIENTS_PLAN =
      struct(
          "fm_squared_gradients_plan",
          JAVA_LONG.withName("packed_g"),
          JAVA_LONG.withName("packed_a"),
          JAVA_LONG.withName("scratch"),
          JAVA_LONG.withName("pack_g_items"),
          JAVA_LONG.withName("pack_a_items"),
          JAVA_LONG.withName("blocks"));

  static final int PLAN_PACKED_G = index(SQUARED_GRADIENTS_PLAN, "packed_g");
  static final int PLAN_PACKED_A = index(SQUARED_GRADIENTS_PLAN, "packed_a");
  static final int PLAN_SCRATCH = index(SQUARED_GRADIENTS_PLAN, "scratch");
  static final int PLAN_PACK_G_ITEMS = index(SQUARED_GRADIENTS_PLAN, "pack_g_items");
  static final int PLAN_PACK_A_ITEMS = index(SQUARED_GRADIENTS_PLAN, "pack_a_items");
  static final int PLAN_BLOCKS = index(SQUARED_GRADIENTS_PLAN, "blocks");

  static final StructLayout CUDA_DEVICE =
      struct(
          "fmc_device",
          MemoryLayout.sequenceLayout(256, JAVA_BYTE).withName("name"),
          JAVA_LONG.withName("memory_bytes"),
          JAVA_LONG.withName("free_bytes"),
          JAVA_INT.withName("multiprocessors"),
          JAVA_INT.withName("major"),
          JAVA_INT.withName("minor"),
          JAVA_INT.withName("l2_bytes"));

  static final long DEVICE_NAME = offset(CUDA_DEVICE, "name");
  static final long DEVICE_MEMORY_BYTES = offset(CUDA_DEVICE, "memory_bytes");
  static final long DEVICE_FREE_BYTES = offset(CUDA_DEVICE, "free_bytes");
  static final long DEVICE_MAJOR = offset(CUDA_DEVICE, "major");
  static final long DEVICE_MINOR = offset(CUDA_DEVICE, "minor");

  static final StructLayout CUDA_SQUARED_GRADIENTS_PLAN =
      struct(
          "fmc_squared_gradients_plan",
          JAVA_LONG.withName("workspace_bytes"),
          JAVA_INT.withName("precision"),
          JAVA_INT.withName("splits"));

  static final long CUDA_PLAN_WORKSPACE_BYTES =
      offset(CUDA_SQUARED_GRADIENTS_PLAN, "workspace_bytes");

  /** All of them. */
  static final List<StructLayout> ALL =
      List.of(
          WEIGHTED_INPUT,
          VALUE_STATISTICS,
          VALUES,
          TASK_VECTOR,
          MAGNITUDE_COUNTS,
          SELECTED_MAGNITUDE,
          COTANGENTS,
          ACTIVATIONS,
          SQUARED_GRADIENTS_PLAN,
          CUDA_DEVICE,
          CUDA_SQUARED_GRADIENTS_PLAN);

  /**
   * Structs of longs are read and written in an array, one for each thread, and copied at once. To
   * the JVM's first compiler an access of its own for each field is ten kilobytes of code, and that
   * compiler competes with the first batches of a run.
   */
  private static final ThreadLocal<long[]> LONGS =
      ThreadLocal.withInitial(
          () -> new long[ALL.stream().mapToInt(NativeStructs::count).max().orElseThrow()]);

  private NativeStructs() {}

  private static StructLayout struct(String name, MemoryLayout... fields) {
    return MemoryLayout.structLayout(fields).withName(name);
  }

  private static long offset(StructLayout struct, String field) {
    return struct.byteOffset(groupElement(field));
  }

  /** Where a field of a struct of longs is, counted in longs. */
  private static int index(StructLayout struct, String field) {
    return Math.toIntExact(offset(struct, field) / Long.BYTES);
  }

  /** An array of {@code fm_weighted_input}. */
  static long weightedInputs(List<WeightedInput> inputs, Arena arena) {
    MemorySegment array = arena.allocate(WEIGHTED_INPUT, inputs.size());
    long at = 0;
    for (WeightedInput input : inputs) {
      array.set(JAVA_LONG, at + INPUT_VALUES, input.values().address());
      array.set(JAVA_LONG, at + INPUT_FISHER, addressOrNull(input.fisher()));
      array.set(JAVA_DOUBLE, at + INPUT_SCALE, input.scale());
      array.set(JAVA_DOUBLE, at + INPUT_OFFSET, input.offset());
      array.set(JAVA_INT, at + INPUT_VALUE_TYPE, code(input.valueType()));
      array.set(JAVA_INT, at + INPUT_FISHER_TYPE, code(input.fisherType()));
      at += WEIGHTED_INPUT.byteSize();
    }
    return array.address();
  }

  /** What an {@code fm_value_statistics} at an offset says. */
  static ValueStatistics valueStatistics(MemorySegment segment, long at) {
    return new ValueStatistics(
        segment.get(JAVA_DOUBLE, at + STATISTICS_SUM),
        segment.get(JAVA_DOUBLE, at + STATISTICS_MINIMUM),
        segment.get(JAVA_LONG, at + STATISTICS_BELOW));
  }

  /** A {@code fm_values}, or null. */
  static long valuesOrNull(@Nullable TypedValues values, Arena arena) {
    return values == null ? 0 : values(List.of(values), arena);
  }

  /** An array of {@code fm_values}. */
  static long values(List<TypedValues> rows, Arena arena) {
    MemorySegment array = arena.allocate(VALUES, rows.size());
    long at = 0;
    for (TypedValues row : rows) {
      array.set(JAVA_LONG, at + VALUES_DATA, row.data().address());
      array.set(JAVA_INT, at + VALUES_TYPE, code(row.type()));
      at += VALUES.byteSize();
    }
    return array.address();
  }

  /** An array of {@code fm_task_vector}. */
  static long taskVectors(List<TaskVector> vectors, Arena arena) {
    MemorySegment array = arena.allocate(TASK_VECTOR, vectors.size());
    long at = 0;
    for (TaskVector vector : vectors) {
      Kept kept = vector.kept();
      array.set(JAVA_LONG, at + VECTOR_VALUES, vector.values().address());
      array.set(JAVA_DOUBLE, at + VECTOR_WEIGHT, vector.weight());
      array.set(JAVA_DOUBLE, at + VECTOR_RESCALE, vector.rescale());
      array.set(JAVA_LONG, at + VECTOR_LEAST_FROM, kept.leastFrom());
      array.set(JAVA_LONG, at + VECTOR_LEAST_UNTIL, kept.leastUntil());
      array.set(JAVA_LONG, at + VECTOR_MOST_UNTIL, kept.mostUntil());
      array.set(JAVA_LONG, at + VECTOR_SEED, kept.seed());
      array.set(JAVA_LONG, at + VECTOR_SHARE, kept.share());
      array.set(JAVA_FLOAT, at + VECTOR_LEAST, kept.least());
      array.set(JAVA_FLOAT, at + VECTOR_MOST, kept.most());
      array.set(JAVA_INT, at + VECTOR_VALUE_TYPE, code(vector.type()));
      at += TASK_VECTOR.byteSize();
    }
    return array.address();
  }

  /** What an {@code fm_magnitude_counts} says. */
  static MagnitudeScan.Counts magnitudeCounts(MemorySegment counts) {
    return new MagnitudeScan.Counts(
        counts.get(JAVA_LONG, COUNTS_BELOW),
        counts.get(JAVA_LONG, COUNTS_AT_LOW),
        counts.get(JAVA_LONG, COUNTS_BETWEEN),
        counts.get(JAVA_LONG, COUNTS_AT_HIGH));
  }

  /** What an {@code fm_selected_magnitude} says. */
  static SelectedMagnitude selectedMagnitude(MemorySegment selected) {
    return new SelectedMagnitude(
        selected.get(JAVA_FLOAT, SELECTED),
        selected.get(JAVA_LONG, SELECTED_BELOW),
        selected.get(JAVA_LONG, SELECTED_EQUAL));
  }

  /** A {@code fm_cotangents}. */
  static long cotangents(Batch batch, Arena arena) {
    long[] struct = LONGS.get();
    Cotangents g = batch.g();
    struct[G_DATA] = g.data().address();
    struct[G_PROBE_STRIDE] = g.probeStride();
    struct[G_EXAMPLE_STRIDE] = g.exampleStride();
    struct[G_TOKEN_STRIDE] = g.tokenStride();
    struct[G_WEIGHTS] = addressOrNull(batch.weights());
    struct[G_WEIGHT_PROBE_STRIDE] = batch.weightStride();
    struct[G_PROBES] = batch.shape().probes();
    struct[G_EXAMPLES] = batch.shape().examples();
    struct[G_TOKENS] = batch.shape().tokens();
    struct[G_WIDTH] = batch.width();
    return copied(struct, COTANGENTS, arena);
  }

  /** A {@code fm_activations}. */
  static long activations(Activations a, long width, Arena arena) {
    long[] struct = LONGS.get();
    struct[A_DATA] = a.data().address();
    struct[A_EXAMPLE_STRIDE] = a.exampleStride();
    struct[A_TOKEN_STRIDE] = a.tokenStride();
    struct[A_WIDTH] = width;
    return copied(struct, ACTIVATIONS, arena);
  }

  private static long copied(long[] fields, StructLayout struct, Arena arena) {
    MemorySegment segment = arena.allocate(struct);
    MemorySegment.copy(fields, 0, segment, JAVA_LONG, 0, count(struct));
    return segment.address();
  }

  /**
   * The fields of a struct of longs, by their {@link #index}; valid until another is read or
   * written by this thread.
   */
  static long[] longs(MemorySegment segment, StructLayout struct) {
    long[] fields = LONGS.get();
    MemorySegment.copy(segment, JAVA_LONG, 0, fields, 0, count(struct));
    return fields;
  }

  private static int count(StructLayout struct) {
    return Math.toIntExact(struct.byteSize() / Long.BYTES);
  }

  private static long addressOrNull(@Nullable MemorySegment segment) {
    return segment == null ? 0 : segment.address();
  }

  /** The {@code fm_mix} of a way of mixing. */
  static int code(TaskVectorMix.Mix how) {
    return switch (how) {
      case SUM -> 0;
      case MEAN -> 1;
      case ELECTED_SUM -> 2;
      case ELECTED_MEAN -> 3;
    };
  }

  /** The {@code fm_type} of a format. */
  static int code(ElementType type) {
    return switch (type) {
      case F32 -> 0;
      case F16 -> 1;
      case BF16 -> 2;
      case F64 -> 3;
    };
  }
}
