package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.OptionalInt;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;

/** Which GPUs share a pool, without any. */
final class CommandDeviceTest {
  private static final List<Integer> BY_FREE_MEMORY = List.of(2, 0, 3, 1);

  @Test
  void theOthersAreTheEmptiest() {
    assertThat(CommandDevice.others(BY_FREE_MEMORY, 2, OptionalInt.of(1))).isEmpty();
    assertThat(CommandDevice.others(BY_FREE_MEMORY, 2, OptionalInt.of(3))).containsExactly(0, 3);
    assertThat(CommandDevice.others(BY_FREE_MEMORY, 1, OptionalInt.of(2))).containsExactly(2);
  }

  @Test
  void allIsAllThereAre() {
    assertThat(CommandDevice.others(BY_FREE_MEMORY, 3, OptionalInt.empty()))
        .containsExactly(2, 0, 1);
    assertThat(CommandDevice.others(List.of(), 0, OptionalInt.empty())).isEmpty();
  }

  @Test
  void moreThanThereAreIsRefused() {
    assertThatThrownBy(() -> CommandDevice.others(BY_FREE_MEMORY, 0, OptionalInt.of(5)))
        .isInstanceOf(InputException.class)
        .hasMessage("5 GPUs are asked for, and 4 can be used: give fabric.devices=4 or auto");
  }

  @Test
  void aCpuIsOnItsOwn() {
    CommandDevice cpu = CommandDevice.forMerging("cpu");
    assertThat(cpu.withOthers(OptionalInt.of(4))).containsExactly(cpu);
  }
}
