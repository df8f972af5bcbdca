package org.fishermerge.checkpoint;

import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.time.Duration;
import java.util.stream.Stream;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The short form; {@code -Pfuzz} is the long one. */
final class FuzzTest {
  private static final long SEED = 1;

  static Stream<FuzzTarget> targets() {
    return Stream.of(new SafetensorsFuzz(), new FisherMetadataFuzz(), new ShardIndexFuzz());
  }

  @ParameterizedTest
  @MethodSource("targets")
  void succeedsOrSaysWhy(FuzzTarget target) {
    assertTimeoutPreemptively(Duration.ofMinutes(2), () -> Fuzzing.run(target, SEED));
  }

  @ParameterizedTest
  @MethodSource("targets")
  void jazzerFindsNothing(FuzzTarget target) throws Exception {
    assumeTrue(Fuzzing.jazzerExecutions() > 0, "runs with -Pfuzz");
    Fuzzing.jazzer(target);
  }
}
