package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.fishermerge.testkit.Golden;
import org.fishermerge.testkit.TestHub;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Ids of the hub wherever a command names a folder, and folders of pictures as data. */
final class HubPlacesTest {
  private static final String CLIP = "acme/clip-tiny";
  private static final String TOWERS = "acme/towers";

  @TempDir Path folder;
  private TestHub hub;
  private Map<String, String> environment = new HashMap<>();

  @BeforeEach
  void start() throws IOException {
    hub = TestHub.start();
    environment.put("HF_ENDPOINT", hub.endpoint());
    environment.put("HF_HOME", folder.resolve("hf").toString());
    hub.repository(TestHub.Kind.MODEL, CLIP, FewWords.pretrained());
    // Models in sub-folders, and the Fisher of one, at a revision of its own.
    Path towers = folder.resolve("served");
    for (String task : List.of("alpha", "beta", "gamma")) {
      for (String file : List.of("config.json", "model.safetensors")) {
        copy(Golden.path("clip-tiny/" + task + "/" + file), towers.resolve(task + "/" + file));
      }
    }
    hub.repository(TestHub.Kind.MODEL, TOWERS, "v1", towers);
  }

  @AfterEach
  void stop() {
    hub.close();
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(Objects.requireNonNull(to.getParent()));
    Files.copy(from, to);
  }

  private static String local(String name) {
    return Golden.path("clip-tiny/" + name).toString();
  }

  private CommandResult run(String words) {
    CommandResult result = CommandResult.run(environment, List.of(words.split(" ")));
    assertThat(result.code()).as(result.err()).isZero();
    return result;
  }

  private byte[] merged(String words, String name) throws IOException {
    Path out = folder.resolve(name);
    run(words + " --out " + out);
    return Files.readAllBytes(out.resolve("model.safetensors"));
  }

  @Test
  void modelsAndFishersComeFromTheHub() throws IOException {
    byte[] here =
        merged(
            "average --base %s --model %s --model %s"
                .formatted(FewWords.pretrained(), local("alpha"), local("beta")),
            "here");
    byte[] there =
        merged(
            "average --base %s --model %s@v1/alpha --model hf://%s@v1/beta"
                .formatted(CLIP, TOWERS, TOWERS),
            "there");
    assertThat(there).isEqualTo(here);
    assertThat(hub.requests("GET", "/gamma/model.safetensors")).isEmpty();

    Path fisher = folder.resolve("served/alpha/alpha.fisher.safetensors");
    run(
        "fisher --model %s@v1/alpha --clip %s --classes %s:alpha --data %s#alpha. --examples 2 --out %s"
            .formatted(TOWERS, CLIP, local("tasks.json"), local("expected.safetensors"), fisher));
    // A new commit: the Fisher is published beside its model.
    hub.repository(TestHub.Kind.MODEL, TOWERS, "v2", folder.resolve("served"));
    String models = "merge --base %s --model %s@v2/alpha".formatted(CLIP, TOWERS);
    byte[] byFile =
        merged(models + " --fisher %s@v2/alpha/alpha.fisher.safetensors".formatted(TOWERS), "file");
    byte[] byFolder = merged(models + " --fisher %s@v2/alpha".formatted(TOWERS), "folder");
    byte[] byPath = merged(models + " --fisher " + fisher, "path");
    assertThat(byFile).isEqualTo(byPath);
    assertThat(byFolder).isEqualTo(byPath);

    assertThat(run("inspect %s@v2/alpha".formatted(TOWERS)).out()).contains("model folder");
    assertThat(run("inspect %s@v2/alpha/alpha.fisher.safetensors".formatted(TOWERS)).out())
        .contains("Fisher file");

    // All of it again without the network.
    environment.put("HF_HUB_OFFLINE", "1");
    hub.forget();
    merged(models + " --fisher %s@v2/alpha".formatted(TOWERS), "offline");
    assertThat(hub.requests()).isEmpty();
    CommandResult.run(environment, List.of("inspect", "acme/other"))
        .fails(1, "model acme/other (revision main) is not in the cache", "HF_HUB_OFFLINE is set");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "./acme/clip",
        "/acme/clip",
        "acme/clip/sub",
        "acme/clip.safetensors",
        "../x",
        "~/clip",
        "clip.bin",
        "acme/.hidden"
      })
  void whatLooksLikeAPathNeverGoesToTheNetwork(String path) {
    CommandResult.run(environment, List.of("inspect", path)).fails(1, path);
    CommandResult.run(
            environment,
            List.of("average", "--base", path, "--model", path, "--out", folder + "/out"))
        .fails(1, path);
    assertThat(hub.requests()).isEmpty();
  }

  @Test
  void mistakesInNamesAreSaid() {
    CommandResult.run(environment, List.of("inspect", TOWERS + "@v1"))
        .fails(1, TOWERS, "safetensors file");
    CommandResult.run(environment, List.of("inspect", TOWERS + "@v1/delta"))
        .fails(1, TOWERS, "folder delta");
    CommandResult.run(environment, List.of("inspect", TOWERS + "@v3"))
        .fails(1, TOWERS, "v3", "no such revision");
    CommandResult.run(environment, List.of("inspect", TOWERS + "@v1/../x")).fails(1, "no path in");
  }

  @Test
  void picturesByClassAreEvaluatedByTheirNames() throws IOException {
    Path pictures = folder.resolve("pictures");
    List<String> classes = List.of("big red bus", "cat", "dog");
    List<String> files =
        List.of("tiny_32x32.png", "landscape_640x427.jpg", "gray_28x28.png", "rgba_300x200.png");
    for (int i = 0; i < files.size(); i++) {
      copy(
          Golden.path("images/" + files.get(i)),
          pictures.resolve("test/" + classes.get(i % 3) + "/" + files.get(i)));
    }
    String words =
        "evaluate --model %s --clip %s --classes %s:alpha --report %s --outputs %s --overwrite --data "
            .formatted(
                local("alpha"),
                FewWords.pretrained(),
                local("tasks.json"),
                folder.resolve("report.json"),
                folder.resolve("outputs.safetensors"));
    // The classes of the task are in another order: cat, dog, big red bus.
    CommandResult all = run(words + pictures);
    long expected = correct(List.of(2, 0, 1, 2), List.of(0, 3, 1, 2));
    assertThat(all.out()).contains("(%d of 4;".formatted(expected));
    assertThat(run(words + pictures + "#test[:50%]").out()).contains("of 2;");
    // The same as a data set of the hub, and with its labels in a file.
    hub.repository(TestHub.Kind.DATASET, "acme/pictures", pictures);
    assertThat(run(words + "acme/pictures#test").out()).contains("(%d of 4;".formatted(expected));
    CommandResult.run(environment, List.of((words + "acme/pictures#train").split(" ")))
        .fails(1, "there is no split 'train'; there is test");
    Path listed = folder.resolve("listed");
    StringBuilder metadata = new StringBuilder("file_name,label\n");
    for (int i = 0; i < files.size(); i++) {
      copy(Golden.path("images/" + files.get(i)), listed.resolve(files.get(i)));
      metadata.append(files.get(i)).append(',').append(classes.get(i % 3)).append('\n');
    }
    Files.writeString(listed.resolve("metadata.csv"), metadata);
    assertThat(run(words + listed).out()).contains("(%d of 4;".formatted(expected));
  }

  /** Of the logits that were just written, in the order of files by folder. */
  private long correct(List<Integer> labels, List<Integer> order) {
    TestTensors.Tensor logits =
        TestTensors.read(folder.resolve("outputs.safetensors")).get("logits");
    // By folder: big red bus (tiny, rgba), cat (landscape), dog (gray).
    int[] expected = {labels.get(0), labels.get(3), labels.get(1), labels.get(2)};
    long correct = 0;
    float[] values = logits.floats();
    int classes = values.length / order.size();
    for (int i = 0; i < order.size(); i++) {
      int best = 0;
      for (int c = 1; c < classes; c++) {
        best = values[i * classes + c] > values[i * classes + best] ? c : best;
      }
      correct += best == expected[i] ? 1 : 0;
    }
    return correct;
  }

  @Test
  void builtInClassListsGoByName() {
    // The model is not of that task: what matters is that the list is found.
    List<String> words =
        List.of(
            "evaluate",
            "--model",
            local("alpha"),
            "--clip",
            FewWords.pretrained().toString(),
            "--classes",
            "sun",
            "--data",
            local("expected.safetensors") + "#alpha.");
    CommandResult.run(environment, words)
        .fails(1, "sun: is neither a file nor a built-in list of classes", "\"sun397\"", "gtsrb");
  }

  @ParameterizedTest
  @ValueSource(strings = {"sun397", "stanford-cars", "mnist"})
  void builtInListsAreBuilt(String task) {
    CommandResult result =
        CommandResult.run(
            environment,
            List.of(
                "evaluate",
                "--model",
                local("alpha"),
                "--clip",
                local("pretrained"),
                "--classes",
                task,
                "--data",
                local("expected.safetensors") + "#alpha."));
    assertThat(result.err()).doesNotContain("built-in list", "cannot read");
  }
}
