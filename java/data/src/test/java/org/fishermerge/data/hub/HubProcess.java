package org.fishermerge.data.hub;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A client in a process of its own, which downloads a model and prints the folder. */
final class HubProcess {
  private HubProcess() {}

  static Process start(HubFixture hub, Path output) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-Xshare:auto");
    command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
    command.add("-cp");
    command.add(
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
    command.add(HubProcess.class.getName());
    command.add(HubFixture.ID);
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().keySet().removeIf(name -> name.startsWith("HF_"));
    builder.environment().putAll(hub.environment);
    builder.redirectErrorStream(true).redirectOutput(output.toFile());
    try {
      return builder.start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static void main(String[] args) {
    Map<String, String> environment = System.getenv();
    HubSettings settings =
        HubSettings.from(environment).withPatience(Duration.ofSeconds(60), 0, Duration.ZERO);
    try (Hub hub = new Hub(settings, HubProgress.NONE)) {
      System.out.println(hub.snapshot(Repository.model(args[0]), WantedFiles.model()));
    }
  }
}
