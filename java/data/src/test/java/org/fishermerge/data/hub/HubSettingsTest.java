package org.fishermerge.data.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The rules of {@code huggingface_hub/constants.py} and {@code utils/_auth.py}. */
final class HubSettingsTest {
  private static final Path HOME = Path.of(System.getProperty("user.home"));

  @TempDir Path folder;

  /** {@code NAME=value} pairs, separated by spaces. */
  private static Map<String, String> environment(String text) {
    Map<String, String> environment = new HashMap<>();
    for (String pair : text.split(" ", -1)) {
      String[] parts = pair.split("=", 2);
      if (parts.length == 2) {
        environment.put(parts[0], parts[1]);
      }
    }
    return environment;
  }

  @ParameterizedTest
  @CsvSource({
    "HF_HUB_CACHE=/a HF_HOME=/b XDG_CACHE_HOME=/c, /a",
    "HUGGINGFACE_HUB_CACHE=/a HF_HOME=/b, /a",
    "HF_HUB_CACHE=/z HUGGINGFACE_HUB_CACHE=/a, /z",
    "HF_HOME=/b XDG_CACHE_HOME=/c, /b/hub",
    "XDG_CACHE_HOME=/c, /c/huggingface/hub",
    "HF_HOME=/b HF_HUB_CACHE=, /b/hub",
    "HF_HOME=$DATA/hf DATA=/d, /d/hf/hub",
    "HF_HOME=${DATA}/hf DATA=/d, /d/hf/hub",
    "HF_HOME=$NONE/hf, $NONE/hf/hub",
    "HOME=/h, /h/.cache/huggingface/hub",
    "HOME=/h/, /h/.cache/huggingface/hub",
    "HOME=, /.cache/huggingface/hub",
    "HOME=/, /.cache/huggingface/hub",
    "HOME=/h HF_HOME=~, /h/hub",
    "HOME=/h HF_HOME=~/x, /h/x/hub",
    "HOME=/h HF_HUB_CACHE=~/c, /h/c",
    "HOME=/h HUGGINGFACE_HUB_CACHE=~/c, /h/c",
    "HOME=/h XDG_CACHE_HOME=~/c, /h/c/huggingface/hub",
    "HOME=/h HF_HOME=$HOME/x, /h/x/hub",
    "HOME=/h HF_HOME=~root/x, /root/x/hub",
    "HOME=/h HF_HOME=./~/x, ./~/x/hub",
    "HOME=/h HF_HOME=$X/y X=~, ~/y/hub",
    "HOME=h HF_HOME=~/x, h/x/hub"
  })
  void theCache(String environment, Path expected) {
    assertThat(HubSettings.from(environment(environment)).cache()).isEqualTo(expected);
  }

  @Test
  void theCacheBelowTheHomeFolder() {
    assertThat(HubSettings.from(Map.of("HF_TOKEN", "t")).cache())
        .isEqualTo(HOME.resolve(".cache/huggingface/hub"));
    assertThat(HubSettings.from(environment("HF_HOME=~/x")).cache())
        .isEqualTo(HOME.resolve("x/hub"));
  }

  @Test
  void aUserWhomNobodyKnows() {
    assertThatThrownBy(() -> HubSettings.from(environment("HF_HOME=~no-such-user/x")))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("HF_HOME", "~no-such-user/x", "/etc/passwd", "write the folder");
  }

  @ParameterizedTest
  @CsvSource({
    "HF_HUB_OFFLINE=1, true",
    "HF_HUB_OFFLINE=yes, true",
    "HF_HUB_OFFLINE=TRUE, true",
    "HF_HUB_OFFLINE=0, false",
    "HF_HUB_OFFLINE=2, false",
    "NOTHING=1, false",
    "TRANSFORMERS_OFFLINE=1, true",
    "TRANSFORMERS_OFFLINE=1 HF_HUB_OFFLINE=0, false"
  })
  void offline(String environment, boolean expected) {
    assertThat(HubSettings.from(environment("HF_HOME=/none " + environment)).offline())
        .isEqualTo(expected);
  }

  @Test
  void theTokenComesFromTheEnvironmentOrAFile() throws IOException {
    String home = "HF_HOME=" + folder;
    assertThat(HubSettings.from(environment(home)).token()).isNull();
    Files.writeString(folder.resolve("token"), " hf_file\n");
    assertThat(HubSettings.from(environment(home)).token()).isEqualTo("hf_file");
    assertThat(HubSettings.from(environment(home + " HF_TOKEN=hf_env")).token())
        .isEqualTo("hf_env");
    assertThat(HubSettings.from(environment(home + " HF_TOKEN=")).token()).isEqualTo("hf_file");
    assertThat(HubSettings.from(environment(home + " HF_HUB_DISABLE_IMPLICIT_TOKEN=1")).token())
        .isNull();
    Path other = Files.writeString(folder.resolve("other"), "hf_other");
    assertThat(HubSettings.from(environment(home + " HF_TOKEN_PATH=" + other)).token())
        .isEqualTo("hf_other");
  }

  @Test
  void theTokenIsNeverShown() {
    HubSettings settings = HubSettings.from(environment("HF_TOKEN=hf_secret"));
    assertThat(settings.toString()).doesNotContain("hf_secret").contains("token=given");
    assertThatThrownBy(() -> HubSettings.from(Map.of("HF_TOKEN", "hf_sec\nret")))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("HF_TOKEN")
        .hasMessageNotContaining("hf_sec");
  }

  @Test
  void theEndpoint() {
    assertThat(HubSettings.from(environment("HF_HOME=/none")).endpoint())
        .hasToString("https://huggingface.co");
    assertThat(HubSettings.from(environment("HF_ENDPOINT=http://mirror:8080/hf//")).endpoint())
        .hasToString("http://mirror:8080/hf");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HF_ENDPOINT=mirror.example",
        "HF_ENDPOINT=ftp://mirror.example",
        "HF_ENDPOINT=https://user:secret@mirror.example",
        "HF_ENDPOINT=https://",
        "HF_ENDPOINT=https://a?b",
        "HF_HUB_DOWNLOAD_TIMEOUT=soon",
        "HF_HUB_DOWNLOAD_TIMEOUT=0",
        "HF_HOME=/a\0b"
      })
  void nonsenseIsNamed(String environment) {
    assertThatThrownBy(() -> HubSettings.from(environment(environment)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(environment.substring(0, environment.indexOf('=')));
  }

  @Test
  void theTimeout() {
    assertThat(HubSettings.from(environment("HF_HUB_DOWNLOAD_TIMEOUT=7")).timeout())
        .isEqualTo(Duration.ofSeconds(7));
  }

  @ParameterizedTest
  @CsvSource({
    "HTTPS_PROXY=http://p:3128, https://hub.example/x, p:3128",
    "https_proxy=q HTTPS_PROXY=http://p:3128, https://hub.example/x, q:80",
    "HTTPS_PROXY=http://p:3128, http://hub.example/x, direct",
    "ALL_PROXY=http://p:3128, http://hub.example/x, p:3128",
    "ALL_PROXY=http://p:3128 HTTPS_PROXY=r:1, https://hub.example/x, r:1",
    "ALL_PROXY=p:3128 NO_PROXY=example, https://hub.example/x, direct",
    "ALL_PROXY=p:3128 no_proxy=.EXAMPLE, https://hub.example/x, direct",
    "ALL_PROXY=p:3128 NO_PROXY=ample, https://hub.example/x, p:3128",
    "ALL_PROXY=p:3128 NO_PROXY=a;hub.example:8443, https://hub.example:8443/x, direct",
    "ALL_PROXY=p:3128 NO_PROXY=*, https://hub.example/x, direct",
  })
  void theProxies(String environment, URI url, String expected) {
    ProxySelector proxies = HubSettings.from(environment(environment.replace(';', ','))).proxies();
    assertThat(Objects.requireNonNull(proxies).select(url))
        .singleElement()
        .satisfies(proxy ->
            assertThat(
                    proxy.address() instanceof InetSocketAddress address
                        ? address.getHostString() + ":" + address.getPort()
                        : "direct")
                .isEqualTo(expected));
  }

  @ParameterizedTest
  @CsvSource({
    "HTTPS_PROXY=socks5://p:1, expected the address of an HTTP proxy",
    "https_proxy=http://, https_proxy is 'http://'",
    "HTTPS_PROXY=http://me:secret@p:1, holds a user's name",
  })
  void badProxies(String environment, String message) {
    assertThatThrownBy(() -> HubSettings.from(environment(environment)))
        .isInstanceOf(InputException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("secret");
    assertThat(HubSettings.from(Map.of()).proxies()).isNull();
  }
}
