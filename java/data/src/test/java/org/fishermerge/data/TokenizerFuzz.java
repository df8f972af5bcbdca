package org.fishermerge.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
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
  private static final List<String> FILES = TokenizerFiles.NAMES;

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

  /** What the others hold while one is fuzzed. */
  private static byte[] content(String name) {
    String settings =
        switch (name) {
          case TokenizerFiles.CONFIG ->
              """
              {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "[B]",
               "pad_token": {"__type": "AddedToken", "content": "[P]", "lstrip": true},
               "truncation_side": "left", "extra_special_tokens": ["[X]"], "add_prefix_space": true}
              """;
          case TokenizerFiles.SPECIAL_TOKENS ->
              """
              {"sep_token": {"content": "[S]", "single_word": true}, "mask_token": "[M]",
               "additional_special_tokens": ["[Y]"]}
              """;
          case TokenizerFiles.ADDED_TOKENS -> "{\"[S]\": 500, \"text\": 501}";
          case TokenizerFiles.MODEL_CONFIG -> "{\"model_type\": \"gpt2\"}";
          default -> "";
        };
    try {
      return settings.isEmpty()
          ? Files.readAllBytes(Gpt2TokenizerTest.FOLDER.resolve(name))
          : settings.getBytes(StandardCharsets.UTF_8);
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
