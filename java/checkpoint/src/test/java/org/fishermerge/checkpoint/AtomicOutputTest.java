package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AtomicOutputTest {
  @TempDir Path folder;

  private List<Path> contents() throws IOException {
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.sorted().toList();
    }
  }

  private Path oldModel(String name) throws IOException {
    Path model = Files.createDirectory(folder.resolve(name));
    Files.writeString(model.resolve("model.safetensors"), "old");
    Files.createDirectory(model.resolve("sub"));
    Files.writeString(model.resolve("sub/extra"), "old");
    return model;
  }

  @Test
  void aFileAppearsOnCommitOnly() throws IOException {
    Path target = folder.resolve("out.safetensors");
    try (AtomicOutput output = AtomicOutput.file(target, false)) {
      assertThat(output.temp()).doesNotExist();
      Files.writeString(output.temp(), "new");
      assertThat(target).doesNotExist();
      output.commit();
      assertThat(target).hasContent("new");
      assertThatThrownBy(output::commit).isInstanceOf(IllegalStateException.class);
    }
    assertThat(contents()).containsExactly(target);
  }

  @Test
  void aFolderAppearsOnCommitOnly() throws IOException {
    Path target = folder.resolve("model");
    try (AtomicOutput output = AtomicOutput.folder(target, false)) {
      Files.writeString(output.temp().resolve("config.json"), "{}");
      Files.createDirectory(output.temp().resolve("sub"));
      Files.writeString(output.temp().resolve("sub/a"), "a");
      assertThat(target).doesNotExist();
      output.commit();
    }
    assertThat(contents()).containsExactly(target);
    assertThat(target.resolve("sub/a")).hasContent("a");
  }

  @Test
  void withoutCommitNothingIsLeftAndTheTargetUntouched() throws IOException {
    Path file = Files.writeString(folder.resolve("out.safetensors"), "old");
    Path model = oldModel("model");
    AtomicOutput first = AtomicOutput.file(file, true);
    AtomicOutput second = AtomicOutput.folder(model, true);
    AtomicOutput third = AtomicOutput.folder(folder.resolve("a/b/new"), false);
    Files.writeString(first.temp(), "new");
    Files.writeString(second.temp().resolve("model.safetensors"), "new");
    for (AtomicOutput output : List.of(first, second, third)) {
      output.close();
      output.close();
    }
    assertThat(contents()).containsExactly(model, file);
    assertThat(file).hasContent("old");
    assertThat(model.resolve("model.safetensors")).hasContent("old");
    assertThat(model.resolve("sub/extra")).hasContent("old");
  }

  /**
   * As after a crash: an output that is never closed leaves the target alone, and its own traces.
   */
  @Test
  void anAbandonedOutputDoesNotDisturbTheNext() throws IOException {
    Path model = oldModel("model");
    AtomicOutput abandoned = AtomicOutput.folder(model, true);
    Files.writeString(abandoned.temp().resolve("model.safetensors"), "half");
    try (AtomicOutput output = AtomicOutput.folder(model, true)) {
      assertThat(output.temp()).isNotEqualTo(abandoned.temp());
      Files.writeString(output.temp().resolve("model.safetensors"), "new");
      output.commit();
    }
    assertThat(model.resolve("model.safetensors")).hasContent("new");
    assertThat(abandoned.temp().resolve("model.safetensors")).hasContent("half");
  }

  @Test
  void overwritingReplacesTheWhole() throws IOException {
    Path file = Files.writeString(folder.resolve("out.safetensors"), "old");
    Path model = oldModel("model");
    Path empty = Files.createDirectory(folder.resolve("empty"));
    try (AtomicOutput output = AtomicOutput.file(file, true)) {
      Files.writeString(output.temp(), "new");
      output.commit();
    }
    for (Path target : List.of(model, empty)) {
      try (AtomicOutput output = AtomicOutput.folder(target, true)) {
        Files.writeString(output.temp().resolve("model.safetensors"), "new");
        output.commit();
      }
      assertThat(target.resolve("model.safetensors")).hasContent("new");
      assertThat(target.resolve("sub")).doesNotExist();
    }
    assertThat(file).hasContent("new");
    assertThat(contents()).containsExactly(empty, model, file);
  }

  @Test
  void replacingWithoutAnExchangeOfNames() throws IOException {
    Path existing = oldModel("existing");
    Path replacement = Files.createDirectory(folder.resolve("replacement"));
    Path aside = folder.resolve("aside");
    AtomicOutput.replace(existing, replacement, aside);
    assertThat(existing).isEmptyDirectory();
    assertThat(aside.resolve("model.safetensors")).hasContent("old");
    // A second rename that fails is undone.
    assertThatThrownBy(
            () -> AtomicOutput.replace(aside, folder.resolve("none"), folder.resolve("aside2")))
        .isInstanceOf(IOException.class);
    assertThat(aside.resolve("model.safetensors")).hasContent("old");
    assertThat(folder.resolve("aside2")).doesNotExist();
  }

  @Test
  void theResultHasTheUsualPermissionsAndTheWorkIsPrivate() throws IOException {
    Path ordinary = Files.createDirectory(folder.resolve("ordinary"));
    Path target = folder.resolve("model");
    try (AtomicOutput output = AtomicOutput.folder(target, false)) {
      Path work = Objects.requireNonNull(output.temp().getParent());
      assertThat(work.getParent()).isEqualTo(folder);
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(work)))
          .isEqualTo("rwx------");
      output.commit();
    }
    assertThat(Files.getPosixFilePermissions(target))
        .isEqualTo(Files.getPosixFilePermissions(ordinary));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void missingParentsAreCreatedForGoodOrNotAtAll(boolean commit) throws IOException {
    Path target = folder.resolve("x/y/out.safetensors");
    try (AtomicOutput output = AtomicOutput.file(target, false)) {
      Files.writeString(output.temp(), "new");
      if (commit) {
        output.commit();
      }
    }
    assertThat(Files.exists(target)).isEqualTo(commit);
    assertThat(Files.exists(folder.resolve("x"))).isEqualTo(commit);
  }

  private static void assertRefused(
      boolean ofFolder, Path target, boolean overwrite, String... messageParts) {
    assertThatThrownBy(
            () -> {
              try (AtomicOutput output =
                  ofFolder
                      ? AtomicOutput.folder(target, overwrite)
                      : AtomicOutput.file(target, overwrite)) {
                throw new AssertionError("accepted " + output.temp());
              }
            })
        .isInstanceOf(InputException.class)
        .hasMessageStartingWith(target + ": ")
        .hasMessageContainingAll(messageParts);
  }

  @Test
  void unsuitableTargetsAreRefusedUpFront() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "old");
    Path model = oldModel("model");
    Path home = Files.createDirectory(folder.resolve("home"));
    Files.writeString(home.resolve("thesis.txt"), "precious");
    Path link = Files.createSymbolicLink(folder.resolve("link"), model);
    Path dangling = Files.createSymbolicLink(folder.resolve("dangling"), Path.of("nowhere"));
    List<Path> before = contents();

    assertRefused(false, file, false, "exists already");
    assertRefused(true, model, false, "exists already");
    assertRefused(true, file, true, "is a file, where a folder is to be written");
    assertRefused(false, model, true, "is a folder, where a file is to be written");
    assertRefused(true, home, true, "does not look like a model", "delete it yourself");
    assertRefused(true, link, true, "symbolic link");
    assertRefused(false, dangling, false, "symbolic link");
    assertRefused(false, Path.of("/dev/null"), true, "device");
    assertRefused(true, file.resolve("out"), false, file.toString(), "is a file, not a folder");
    assertRefused(true, file.resolve("a/b/out"), false, file.toString(), "is a file, not a folder");
    assertRefused(true, Path.of("/"), true, "no name for an output");
    assertRefused(true, folder.resolve(".."), true, "no name for an output");
    assertRefused(true, folder.resolve("."), true, "no name for an output");
    assertRefused(true, Path.of("/proc/none"), false, "cannot be written", "/proc");
    assertRefused(true, Path.of("/proc/a/none"), false, "cannot be written", "/proc/a");
    // "./~/out" would be that folder; "~/out" is a home folder that no shell has replaced.
    assertRefused(false, Path.of("~/out"), false, "only a shell", "./~/out");
    assertRefused(true, Path.of("~"), true, "only a shell");
    assertRefused(true, folder.resolve("x".repeat(300)), false, "cannot be written");
    assertThat(contents()).isEqualTo(before);
  }

  @Test
  void aFolderWithoutPermissionIsRefusedUpFront() throws IOException {
    Path parent = Files.createDirectory(folder.resolve("readonly"));
    Files.setPosixFilePermissions(parent, PosixFilePermissions.fromString("r-xr-xr-x"));
    assumeFalse(Files.isWritable(parent), "root writes everywhere");
    assertRefused(true, parent.resolve("out"), false, "permission denied");
  }

  @Test
  void aTargetThatComesIntoBeingMeanwhileIsKept() throws IOException {
    Path file = folder.resolve("out.safetensors");
    try (AtomicOutput output = AtomicOutput.file(file, false)) {
      Files.writeString(output.temp(), "new");
      Files.writeString(file, "someone else's");
      assertThatThrownBy(output::commit)
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(file.toString(), "exists already");
    }
    assertThat(contents()).containsExactly(file);
    assertThat(file).hasContent("someone else's");
  }

  @Test
  void outputsLieApartFromInputs() throws IOException {
    Path model = oldModel("model");
    Path weights = model.resolve("model.safetensors");
    Path link = Files.createSymbolicLink(folder.resolve("link"), model);
    AtomicOutput.requireApart(folder.resolve("model2"), List.of(model, weights));
    AtomicOutput.requireApart(model.resolve("fisher.safetensors"), List.of(weights));
    for (Path bad :
        List.of(
            model,
            model.resolve("sub/new"),
            link,
            link.resolve("new"),
            folder,
            folder.resolve("model/../model"))) {
      assertThatThrownBy(() -> AtomicOutput.requireApart(bad, List.of(model)))
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll(bad.toString(), model.toString(), "apart");
    }
  }
}
