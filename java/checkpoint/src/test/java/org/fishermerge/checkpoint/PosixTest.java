package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class PosixTest {
  private static final String LIMITS =
      """
      Limit                     Soft Limit           Hard Limit           Units
      Max processes             96364                96364                processes
      Max open files            %s                 524288               files
      Max locked memory         8388608              8388608              bytes
      """;

  @Test
  void readsHowManyFilesMayBeOpen() {
    assertThat(Posix.limit(LIMITS.formatted("1048"))).isEqualTo(1048);
    assertThat(Posix.limit(LIMITS.formatted("unlimited"))).isEqualTo(Integer.MAX_VALUE);
    assertThat(Posix.limit(LIMITS.formatted("9223372036854775807"))).isEqualTo(Integer.MAX_VALUE);
    assertThat(Posix.limit("")).as("where there is no such list").isEqualTo(1024);
  }
}
