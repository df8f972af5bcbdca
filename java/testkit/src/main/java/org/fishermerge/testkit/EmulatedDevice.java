package org.fishermerge.testkit;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;

/**
 * What tests may do with the device of {@code native/tests/emulated_device.cc}, once kernels have
 * loaded it. Closing puts all back.
 */
@SuppressWarnings("restricted")
public final class EmulatedDevice implements AutoCloseable {
  /** The device as it is at the beginning. */
  public EmulatedDevice() {
    reset();
  }

  /** Bytes copied to the device since the beginning. */
  public long bytesSent() {
    return (long) call("bytes_sent", FunctionDescriptor.of(JAVA_LONG));
  }

  /** Sets how much memory it has. */
  public void setMemory(long bytes) {
    setMemory(bytes, bytes);
  }

  /** The same, of which one allocation may have only so much. */
  public void setMemory(long bytes, long largestAllocation) {
    call("set_memory", FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG), bytes, largestAllocation);
  }

  /** Lets work fail when it is waited for, so many times. */
  public void failSynchronizations(long count) {
    call("fail_synchronizations", FunctionDescriptor.ofVoid(JAVA_LONG), count);
  }

  /**
   * Streams that nobody waits for run before the one that is waited for, and no longer after it.
   */
  public void runOthersFirst() {
    call("run_others_first", FunctionDescriptor.ofVoid());
  }

  @Override
  public void close() {
    reset();
  }

  private static void reset() {
    call("reset", FunctionDescriptor.ofVoid());
  }

  private static Object call(String name, FunctionDescriptor descriptor, Object... arguments) {
    MemorySegment function = SymbolLookup.loaderLookup().findOrThrow("fmc_emulated_" + name);
    MethodHandle handle = Linker.nativeLinker().downcallHandle(function, descriptor);
    try {
      return handle.invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new LinkageError(name, e);
    }
  }
}
