package org.fishermerge.estimate;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class ContentKeyTest {
  @Test
  void aCopyGoesOnByItself() {
    ContentKey key = new ContentKey("scheme").add("a");
    String goneOn = key.copy().add("b").hex();
    assertThat(goneOn).isEqualTo(new ContentKey("scheme").add("a").add("b").hex());
    assertThat(key.hex()).isEqualTo(new ContentKey("scheme").add("a").hex()).isNotEqualTo(goneOn);
  }
}
