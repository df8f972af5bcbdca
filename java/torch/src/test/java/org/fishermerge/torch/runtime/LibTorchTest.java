package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoTF32Guard;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What is of a thread, and what of the process. libtorch's meta device stands in for a GPU. */
final class LibTorchTest {
  @BeforeAll
  static void load() {
    LibTorch.initialize();
  }

  private static boolean newTensorsAreMeta() {
    try (PointerScope scope = new PointerScope()) {
      return Tensors.copyOf(new float[6], 2, 3).is_meta();
    }
  }

  @Test
  void aThreadThatIsElsewhereTakesNoOtherAlong() throws Exception {
    try (ExecutorService other = Executors.newSingleThreadExecutor();
        Device meta = new Device("meta")) {
      assertThat(newTensorsAreMeta()).isFalse();
      LibTorch.onDevice(
          meta,
          () -> {
            assertThat(newTensorsAreMeta()).isTrue();
            assertThat(other.submit(LibTorchTest::newTensorsAreMeta))
                .succeedsWithin(java.time.Duration.ofMinutes(1))
                .isEqualTo(false);
          });
      assertThat(newTensorsAreMeta()).isFalse();
    }
  }

  @Test
  void withoutAGpuNoThreadGoesThere() {
    org.junit.jupiter.api.Assumptions.assumeFalse(LibTorch.hasCuda(), "there is a GPU");
    assertThatThrownBy(() -> LibTorch.onGpu(0, () -> {}))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage(LibTorch.whyNoCuda());
  }

  /** In a scope too, which keeps what is closed in it alive until it ends. */
  @Test
  void exactIsWhatAThreadAsksForAndForNoLonger() {
    try (ExecutorService other = Executors.newSingleThreadExecutor();
        PointerScope scope = new PointerScope()) {
      assertThat(NoTF32Guard.should_disable_tf32()).isFalse();
      boolean elsewhere =
          LibTorch.exactly(() -> {
            assertThat(NoTF32Guard.should_disable_tf32()).isTrue();
            // Exact within exact changes nothing for what follows.
            LibTorch.exactly(() -> 0);
            assertThat(NoTF32Guard.should_disable_tf32()).isTrue();
            try {
              return other.submit(NoTF32Guard::should_disable_tf32).get();
            } catch (Exception e) {
              throw new IllegalStateException(e);
            }
          });
      assertThat(elsewhere).isFalse();
      assertThat(NoTF32Guard.should_disable_tf32()).isFalse();
      assertThatThrownBy(() ->
              LibTorch.exactly(() -> {
                throw new IllegalStateException("thrown");
              }))
          .hasMessage("thrown");
      assertThat(NoTF32Guard.should_disable_tf32()).isFalse();
    }
  }
}
