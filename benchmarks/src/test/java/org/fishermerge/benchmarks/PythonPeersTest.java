package org.fishermerge.benchmarks;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.fishermerge.checkpoint.InputException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The talk with the Python process, held here with a shell script: no test needs Python. */
final class PythonPeersTest {
  private static final String SCRIPT = "peer.py";

  @TempDir Path folder;

  @Test
  void runsTheNamedStepsInTheirOrder() throws IOException {
    script(
        """
        echo "ready batch $1, threads $2"
        while read -r step; do echo "$step" >>"${0%/*}/ran"; echo "done"; done
        """);
    try (PythonPeers peers = new PythonPeers("sh", folder.resolve(SCRIPT), 16, 2)) {
      assertThat(peers.versions()).isEqualTo("batch 16, threads 2");
      peers.run("vmap 8");
      assertThat(folder.resolve("ran")).hasContent("vmap 8");
      peers.run("plain");
      assertThat(folder.resolve("ran")).hasContent("vmap 8\nplain");
    }
  }

  @Test
  void namesTheCommandThatInstallsWhatIsMissing() throws IOException {
    script("echo \"missing No module named 'torch'\"; exit 1\n");
    assertThatThrownBy(() -> new PythonPeers("sh", folder.resolve(SCRIPT), 16, 2))
        .isInstanceOf(InputException.class)
        .hasMessage(
            "--peers sh: No module named 'torch'; install what the peers need with\n"
                + "  sh -m pip install -r %s",
            folder.resolve("requirements.txt"));
  }

  @Test
  void refusesAnInterpreterThatDoesNotRun() throws IOException {
    script("");
    String python = folder.resolve("no-python").toString();
    assertThatThrownBy(() -> new PythonPeers(python, folder.resolve(SCRIPT), 16, 2))
        .isInstanceOf(InputException.class)
        .hasMessage("--peers " + python + ": cannot be run; expected a Python interpreter");
  }

  @Test
  void saysThatTheProcessEndedInsteadOfAStep() throws IOException {
    script("echo ready now; read -r step; exit 1\n");
    try (PythonPeers peers = new PythonPeers("sh", folder.resolve(SCRIPT), 16, 2)) {
      assertThatThrownBy(() -> peers.run("plain"))
          .isInstanceOf(InputException.class)
          .hasMessageContaining("--peers sh: the Python process ended early");
    }
  }

  private void script(String text) throws IOException {
    Files.writeString(folder.resolve(SCRIPT), text);
  }
}
