package org.fishermerge.cli.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

final class DemoRecipeTest {
  @Test
  void noPoolIsTrainedOnThePicturesOfAnotherOrOnThoseThatMeasure() {
    assertThat(LongStream.range(0, 200).map(DemoRecipeTest::pictures))
        .doesNotHaveDuplicates()
        .doesNotContain(DemoRecipe.HELD_BACK_PICTURES);
    assertThat(pictures(0)).as("the shipped pool").isEqualTo(3);
  }

  private static long pictures(long seed) {
    return DemoRecipe.SHIPPED.with(seed, 1e-3).trainingPictures();
  }
}
