package org.fishermerge.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import org.jspecify.annotations.Nullable;

/**
 * The C functions of {@code fisher_kernels.h}. If the library cannot be loaded, this class is still
 * initialised: {@link #FAILURE} says why, and every handle throws it.
 *
 * <p>Functions of a kind are linked when the first of them is called: linking takes milliseconds
 * each, which a merge of small models would spend on kernels that it does not call.
 *
 * <p>Operands are passed as plain addresses, as their arenas may be confined to the caller while
 * worker threads use them; {@link Kernels} has checked them and keeps them reachable.
 */
@SuppressWarnings("restricted")
final class NativeBindings {
  static final int ABI_VERSION = 5;

  static final @Nullable Throwable FAILURE;
  static final String LIBRARY;

  private static final SymbolLookup SYMBOLS = SymbolLookup.loaderLookup();
  private static final Linker LINKER = Linker.nativeLinker();

  static {
    Throwable failure = null;
    String library = "";
    try {
      library =
          NativeLibrary.load(
              "fisher_kernels",
              KernelOptions.LIBRARY_PATH,
              "add the artefact fisher-merge-kernels-PLATFORM if there is one, build native/ on this"
                  + " platform");
      int abi = (int) link("fm_abi_version", FunctionDescriptor.of(JAVA_INT)).invokeExact();
      if (abi != ABI_VERSION) {
        throw new UnsatisfiedLinkError(
            "%s has ABI version %d, this build needs %d: rebuild it, or remove -D%s"
                .formatted(library, abi, ABI_VERSION, KernelOptions.LIBRARY_PATH));
      }
    } catch (Throwable e) {
      failure = e;
    }
    FAILURE = failure;
    LIBRARY = library;
  }

  private static final MethodHandle ISA_NAME =
      handle("fm_isa_name", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG));
  private static final MethodHandle ISA_LIST =
      handle("fm_isa_list", FunctionDescriptor.of(JAVA_LONG));
  private static final MethodHandle OPEN = handle("fm_open", status(JAVA_LONG, JAVA_LONG));

  private static final MethodHandle GUARD = handle("fm_guard", status(JAVA_LONG, JAVA_LONG));
  private static final MethodHandle GUARD_RELEASE = handle("fm_guard_release", status(JAVA_INT));

  /** What the last failed call on this thread had to say. */
  private static final class Errors {
    static final MethodHandle LAST_ERROR =
        handle("fm_last_error", FunctionDescriptor.of(JAVA_LONG));

    private Errors() {}
  }

  /** Weighted averages. */
  static final class Averages {
    static final MethodHandle WEIGHTED_AVERAGE =
        handle(
            "fm_weighted_average",
            status(
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_DOUBLE,
                JAVA_LONG,
                JAVA_INT,
                JAVA_LONG,
                JAVA_LONG));

    private Averages() {}
  }

  /** Sums over values. */
  static final class Sums {
    static final MethodHandle STATISTICS =
        handle(
            "fm_statistics",
            status(JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_DOUBLE, JAVA_LONG));
    static final MethodHandle PAIR_SUMS =
        handle(
            "fm_pair_sums",
            status(
                JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                JAVA_LONG));

    private Sums() {}
  }

  /** Mixes of task vectors. */
  static final class TaskVectors {
    static final MethodHandle TASK_VECTORS =
        handle(
            "fm_task_vectors",
            status(
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_INT,
                JAVA_DOUBLE,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_INT,
                JAVA_LONG,
                JAVA_LONG));
    static final MethodHandle TASK_VECTOR_NORMS =
        handle(
            "fm_task_vector_norms",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));

    private TaskVectors() {}
  }

  /** Ranks of magnitudes. */
  static final class Magnitudes {
    static final MethodHandle MAGNITUDES =
        handle(
            "fm_magnitudes",
            status(
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_FLOAT,
                JAVA_FLOAT,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG));
    static final MethodHandle SAMPLE_MAGNITUDES =
        handle(
            "fm_sample_magnitudes",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle SELECT_MAGNITUDE =
        handle(
            "fm_select_magnitude",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT, JAVA_FLOAT, JAVA_LONG));
    static final MethodHandle COUNT_EQUAL =
        handle("fm_count_equal", status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT, JAVA_LONG));

    private Magnitudes() {}
  }

  /** Squares of gradients. */
  static final class Squares {
    static final MethodHandle SQUARE_ACCUMULATE =
        handle(
            "fm_square_accumulate",
            status(JAVA_LONG, JAVA_LONG, JAVA_DOUBLE, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle SQUARED_GRADIENTS_PREPARE =
        handle("fm_squared_gradients_prepare", status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle SQUARED_GRADIENTS_PACK_G =
        handle(
            "fm_squared_gradients_pack_g",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle SQUARED_GRADIENTS_PACK_A =
        handle(
            "fm_squared_gradients_pack_a",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle SQUARED_GRADIENTS_BLOCKS =
        handle(
            "fm_squared_gradients_blocks",
            status(
                JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                JAVA_LONG, JAVA_LONG));
    static final MethodHandle TOKEN_SUM_SQUARES =
        handle(
            "fm_token_sum_squares", status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    static final MethodHandle LAYER_NORM_SQUARES =
        handle(
            "fm_layer_norm_squares",
            status(
                JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                JAVA_LONG, JAVA_LONG));
    static final MethodHandle EMBEDDING_SQUARES =
        handle(
            "fm_embedding_squares",
            status(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));

    private Squares() {}
  }

  private NativeBindings() {}

  /** Address of the dispatch table of the best instruction set up to {@code maxIsa}. */
  static long open(String maxIsa) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment table = arena.allocate(ADDRESS);
      check((int) OPEN.invokeExact(arena.allocateFrom(maxIsa).address(), table.address()));
      return table.get(JAVA_LONG, 0);
    } catch (Throwable e) {
      throw rethrow(e);
    }
  }

  static String isaName(long table) {
    try {
      return text((long) ISA_NAME.invokeExact(table));
    } catch (Throwable e) {
      throw rethrow(e);
    }
  }

  /** Names of all instruction sets compiled in, lowest first. */
  static String[] isaList() {
    try {
      return text((long) ISA_LIST.invokeExact()).split(",", -1);
    } catch (Throwable e) {
      throw rethrow(e);
    }
  }

  /** Turns a status into an exception. Must run on the thread that made the call. */
  static void check(int status) {
    if (status != 0) {
      try {
        throw new IllegalArgumentException(text((long) Errors.LAST_ERROR.invokeExact()));
      } catch (Throwable e) {
        throw rethrow(e);
      }
    }
  }

  static RuntimeException rethrow(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return e instanceof RuntimeException exception ? exception : new IllegalStateException(e);
  }

  /** The zero-terminated text at an address. */
  static String text(long address) {
    return MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0);
  }

  private static FunctionDescriptor status(ValueLayout... arguments) {
    return FunctionDescriptor.of(JAVA_INT, arguments);
  }

  private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
    if (FAILURE == null) {
      return link(name, descriptor);
    }
    MethodType type = descriptor.toMethodType();
    MethodHandle thrower =
        MethodHandles.throwException(type.returnType(), UnsatisfiedLinkError.class)
            .bindTo(
                (UnsatisfiedLinkError)
                    new UnsatisfiedLinkError(FAILURE.getMessage()).initCause(FAILURE));
    return MethodHandles.dropArguments(thrower, 0, type.parameterList());
  }

  private static MethodHandle link(String name, FunctionDescriptor descriptor) {
    MemorySegment symbol =
        SYMBOLS
            .find(name)
            .orElseThrow(() -> new UnsatisfiedLinkError("the native library lacks " + name));
    return LINKER.downcallHandle(symbol, descriptor);
  }

  /** Guards a mapped segment; negative where that is not possible. */
  static int guard(MemorySegment mapped) {
    try {
      return (int) GUARD.invokeExact(mapped.address(), mapped.byteSize());
    } catch (Throwable e) {
      throw new IllegalStateException("fm_guard", e);
    }
  }

  /** Ends a guard; whether the segment was damaged. */
  static boolean release(int guard) {
    try {
      return (int) GUARD_RELEASE.invokeExact(guard) != 0;
    } catch (Throwable e) {
      throw new IllegalStateException("fm_guard_release", e);
    }
  }
}
