package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URI;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class HubHttpTest {
  @ParameterizedTest
  @CsvSource({
    "/api/x?a=b, https://hub:8443/api/x?a=b",
    "https://cdn/f?name=\"a b\"|é&x=%7C, https://cdn/f?name=%22a%20b%22%7C%C3%A9&x=%7C",
    "//cdn/f, https://cdn/f"
  })
  void redirects(String location, String expected) throws IOException {
    assertThat(HubHttp.redirect(URI.create("https://hub:8443/a/b"), location))
        .hasToString(expected);
  }

  @ParameterizedTest
  @CsvSource({"http://hub/a", "file:///etc/passwd", "ftp://hub/a", "'https://'", "https:a%"})
  void redirectsThatAreNotFollowed(String location) {
    assertThatThrownBy(() -> HubHttp.redirect(URI.create("https://hub/a"), location))
        .isInstanceOf(IOException.class)
        .hasMessageStartingWith("redirected to");
  }

  @ParameterizedTest
  @CsvSource({
    "https://a/x, https://A:443/y, true",
    "http://a, http://a:80, true",
    "https://a, http://a, false",
    "https://a, https://b, false",
    "https://a, https://a.b, false",
    "https://a:1, https://a:2, false"
  })
  void origins(URI a, URI b, boolean same) {
    assertThat(HubHttp.sameOrigin(a, b)).isEqualTo(same);
  }
}
