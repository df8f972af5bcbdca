package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.testkit.Golden;

/** Arguments of commands on the tiny CLIP models of the reference vectors. */
final class GoldenCommands {
  private static final Path CLIP = Golden.path("clip-tiny");

  private GoldenCommands() {}

  /** The Fisher information of a task's model on the task's own six pictures. */
  static List<String> fisher(String task, Path out, String... options) {
    return fisher(task, vectors(task), out, options);
  }

  /** The Fisher information of a task's model on other data. */
  static List<String> fisher(String task, String data, Path out, String... options) {
    List<String> arguments = new ArrayList<>(List.of("fisher", "--out", out.toString()));
    arguments.addAll(List.of("--model", CLIP.resolve(task).toString()));
    arguments.addAll(List.of("--clip", CLIP.resolve("pretrained").toString()));
    arguments.addAll(List.of("--heads", vectors(task), "--data", data));
    arguments.addAll(List.of(options));
    return arguments;
  }

  /** The average of models that were fine-tuned from the pretrained one. */
  static List<String> average(Path out, String... tasks) {
    List<String> arguments = new ArrayList<>(List.of("average", "--out", out.toString()));
    arguments.addAll(List.of("--base", CLIP.resolve("pretrained").toString()));
    for (String task : tasks) {
      arguments.addAll(List.of("--model", CLIP.resolve(task).toString()));
    }
    return arguments;
  }

  private static String vectors(String task) {
    return CLIP.resolve("expected.safetensors") + "#" + task + ".";
  }
}
