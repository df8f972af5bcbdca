package org.fishermerge.estimate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import jcuda.CudaException;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;

/**
 * The NVIDIA GPUs that this process sees, as the driver tells them through JCuda; the only class
 * that knows JCuda. Memory, streams and copies are not its business but that of our own C library
 * ({@code fmc_*}): so there is one CUDA runtime in the process, the embedded jar needs nothing
 * else, and an emulated device can stand in for tests.
 *
 * @param all in the driver's order, which CUDA_VISIBLE_DEVICES changes for all that use CUDA
 * @param driver the newest CUDA that the driver runs, such as 13.0; empty where there is no driver
 * @param reason why none can be used, in one sentence; empty where one can
 */
public record Gpus(List<Gpu> all, Optional<String> driver, Optional<String> reason) {
  /** What the kernels and libtorch are built with. */
  private static final int NEEDED_DRIVER = 13_000;

  private static final int NAME_BYTES = 256;

  /**
   * One of them.
   *
   * @param freeBytes 0 where it is not known: another process has the GPU for itself, or the driver
   *     is too old
   */
  public record Gpu(
      int index, String name, int major, int minor, long memoryBytes, long freeBytes) {
    /** For instance {@code 0: NVIDIA H200, sm_90, 139.8 GiB, 138.1 GiB free}. */
    @Override
    public String toString() {
      double gib = 1 << 30;
      return String.format(
          Locale.ROOT,
          "%d: %s, sm_%d%d, %.1f GiB, %.1f GiB free",
          index,
          name,
          major,
          minor,
          memoryBytes / gib,
          freeBytes / gib);
    }
  }

  /** Asked once: it takes a context on each GPU to learn what is free. */
  private static final class Asked {
    static final Gpus GPUS = ask();
  }

  /** Never throws; loads JCuda's library the first time. */
  public static Gpus find() {
    return Asked.GPUS;
  }

  /** The one with the most free memory; empty where none can be used. */
  public Optional<Gpu> best() {
    return byFreeMemory().stream().findFirst();
  }

  /** The most free memory first, in order where it is as much; none where none can be used. */
  public List<Gpu> byFreeMemory() {
    return reason.isPresent()
        ? List.of()
        : all.stream()
            .sorted(
                Comparator.comparingLong((Gpu gpu) -> -gpu.freeBytes())
                    .thenComparingInt(Gpu::index))
            .toList();
  }

  private static Gpus none(String reason) {
    return new Gpus(List.of(), Optional.empty(), Optional.of(reason));
  }

  private static Gpus ask() {
    try {
      load();
      return list();
    } catch (LinkageError e) {
      return none(
          String.valueOf(e.getMessage()).contains("libcuda.so.1")
              ? "no NVIDIA driver is installed (libcuda.so.1 was not found)"
              : "JCuda, which asks the driver, does not run here: it is for Linux on x86-64");
    } catch (CudaException | IOException e) {
      return none("JCuda, which asks the driver, cannot be loaded: " + e.getMessage());
    }
  }

  /**
   * JCuda unpacks its library into java.io.tmpdir, under a name that is always the same, and loads
   * what already lies there: where anyone may write, anyone could put it. So the property names a
   * folder of our own for that moment.
   */
  private static void load() throws IOException {
    String property = "java.io.tmpdir";
    String before = System.getProperty(property);
    Path folder = Files.createTempDirectory("fisher-jcuda-");
    try {
      System.setProperty(property, folder.toString());
      JCudaDriver.setExceptionsEnabled(false);
    } finally {
      System.setProperty(property, before);
      try (Stream<Path> unpacked = Files.list(folder)) {
        for (Path file : unpacked.toList()) {
          Files.deleteIfExists(file);
        }
      }
      Files.deleteIfExists(folder);
    }
  }

  private static Gpus list() {
    int status = JCudaDriver.cuInit(0);
    int[] version = new int[1];
    JCudaDriver.cuDriverGetVersion(version);
    Optional<String> driver =
        version[0] == 0 ? Optional.empty() : Optional.of(versionText(version[0]));
    int[] count = new int[1];
    if (status == CUresult.CUDA_SUCCESS) {
      status = JCudaDriver.cuDeviceGetCount(count);
    }
    if (status == CUresult.CUDA_ERROR_NO_DEVICE
        || (status == CUresult.CUDA_SUCCESS && count[0] == 0)) {
      return new Gpus(
          List.of(),
          driver,
          Optional.of("the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES can hide them)"));
    }
    if (status != CUresult.CUDA_SUCCESS) {
      return new Gpus(
          List.of(),
          driver,
          Optional.of("the NVIDIA driver does not start: " + CUresult.stringFor(status)));
    }
    List<Gpu> all = new ArrayList<>();
    for (int i = 0; i < count[0]; i++) {
      all.add(gpu(i, version[0] >= NEEDED_DRIVER));
    }
    return new Gpus(
        List.copyOf(all),
        driver,
        version[0] >= NEEDED_DRIVER
            ? Optional.empty()
            : Optional.of(
                "the NVIDIA driver runs CUDA %s at most, %s is needed: update it"
                    .formatted(versionText(version[0]), versionText(NEEDED_DRIVER))));
  }

  private static String versionText(int version) {
    return version / 1000 + "." + version % 1000 / 10;
  }

  private static Gpu gpu(int index, boolean askFree) {
    CUdevice device = new CUdevice();
    JCudaDriver.cuDeviceGet(device, index);
    byte[] name = new byte[NAME_BYTES];
    JCudaDriver.cuDeviceGetName(name, name.length, device);
    int length = 0;
    while (length < name.length && name[length] != 0) {
      length++;
    }
    long[] total = new long[1];
    JCudaDriver.cuDeviceTotalMem(total, device);
    return new Gpu(
        index,
        new String(name, 0, length, StandardCharsets.UTF_8),
        attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        total[0],
        askFree ? freeBytes(device) : 0);
  }

  private static int attribute(CUdevice device, int attribute) {
    int[] value = new int[1];
    JCudaDriver.cuDeviceGetAttribute(value, attribute, device);
    return value[0];
  }

  private static long freeBytes(CUdevice device) {
    CUcontext context = new CUcontext();
    if (JCudaDriver.cuDevicePrimaryCtxRetain(context, device) != CUresult.CUDA_SUCCESS) {
      return 0;
    }
    long[] free = new long[1];
    JCudaDriver.cuCtxPushCurrent(context);
    JCudaDriver.cuMemGetInfo(free, new long[1]);
    JCudaDriver.cuCtxPopCurrent(context);
    JCudaDriver.cuDevicePrimaryCtxRelease(device);
    return free[0];
  }
}
