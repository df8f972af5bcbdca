package org.fishermerge.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.FuzzTarget;
import org.fishermerge.testkit.Fuzzing;

/** One file of a tokenizer: the first byte says which, the others are its content. */
public final class TokenizerFuzz implements FuzzTarget {
  private static final TokenizerFuzz TARGET = new TokenizerFuzz();
  private static final List<String> FILES = List.of("tokenizer.json", "vocab.json", "merges.txt");

  private final Path folder = Fuzzing.folder();

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    List<byte[]> seeds = new ArrayList<>();
    for (int i = 0; i < FILES.size(); i++) {
      byte[] content = content(FILES.get(i));
      byte[] seed = new byte[content.length + 1];
      seed[0] = (byte) i;
      System.arraycopy(content, 0, seed, 1, content.length);
      seeds.add(seed);
    }
    return seeds;
  }

  private static byte[] content(String name) {
    try {
      return Files.readAllBytes(Gpt2TokenizerTest.FOLDER.resolve(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void run(byte[] input) {
    int which = input.length == 0 ? 0 : Math.floorMod(input[0], FILES.size());
    try {
      for (int i = 0; i < FILES.size(); i++) {
        Path file = folder.resolve(FILES.get(i));
        if (i == which) {
          Files.write(file, input.length == 0 ? input : Arrays.copyOfRange(input, 1, input.length));
        } else if (i == 0) {
          Files.deleteIfExists(file); // where it is there, the others are not read
        } else {
          Files.write(file, content(FILES.get(i)));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    try (Gpt2Tokenizer tokenizer = Gpt2Tokenizer.open(folder, 16)) {
      if (tokenizer.encode("A text, \u00e9 and \ud83d\ude00.", null).length > 16) {
        throw new AssertionError("too many tokens");
      }
    } catch (InputException e) {
      if (!String.valueOf(e.getMessage()).contains(folder.toString())) {
        throw new AssertionError("does not name the file: " + e.getMessage(), e);
      }
    }
  }
}
