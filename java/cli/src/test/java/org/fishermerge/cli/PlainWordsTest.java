package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.assertj.core.api.SoftAssertions;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Malformed files of every kind that is read: each is refused in one line that names it, in words
 * for whoever uses the program. No class of a library, nor advice for its programmers.
 */
final class PlainWordsTest {
  private static final Path CLIP = Golden.path("clip-tiny");

  /** Qualified names of classes, simple ones of exceptions, and libraries' own words. */
  private static final Pattern FOREIGN =
      Pattern.compile(
          "\\b(?:[a-z]\\w*\\.)+[A-Z]\\w*|\\w+(?:Exception|Error)\\b|\\w*Feature\\b|CTRL-CHAR|StreamRead|"
              + "\\b(?i:jackson|picocli|snakeyaml|hardwood|flatbuf\\w*|djl|javacpp|bytedeco|classpath|dependency|"
              + "non-standard|enable|serde|rust|unwrap|nullpointer|token of type)\\b");

  /** ReasonsTest has all kinds of faults; here it is the readers that count. */
  private static final List<String> BROKEN_JSON =
      List.of("", "{\"a\": nul}", "{\"a\": 1} x", "// comment\n{}");

  @TempDir Path folder;

  private final SoftAssertions softly = new SoftAssertions();

  /** A copy of a model's folder, whole. */
  private Path copy(Path from, String name) {
    Path to = folder.resolve(name);
    try (Stream<Path> files = Files.list(from)) {
      Files.createDirectories(to);
      for (Path file : files.toList()) {
        String plain = Objects.requireNonNull(file.getFileName()).toString();
        try (InputStream in = Files.newInputStream(file)) {
          boolean packed = plain.endsWith(".gz");
          byte[] bytes = (packed ? new GZIPInputStream(in) : in).readAllBytes();
          Files.write(to.resolve(plain.replaceAll("\\.gz$", "")), bytes);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return to;
  }

  /** Runs with a file changed, checks the message, and puts the file back. */
  private void spoilt(Path file, byte[] content, List<String> arguments) {
    try {
      byte[] before = Files.exists(file) ? Files.readAllBytes(file) : null;
      Files.write(file, content);
      CommandResult result = CommandResult.run(arguments);
      String what =
          arguments.getFirst()
              + " with "
              + file.getFileName()
              + " = "
              + new String(content, 0, Math.min(40, content.length), StandardCharsets.ISO_8859_1)
                  .replaceAll("\\p{Cntrl}", "?");
      if (result.code() != 0) {
        check(what, result, file);
      } else {
        softly.fail(what + " is accepted: " + result.out() + result.err());
      }
      if (before == null) {
        Files.delete(file);
      } else {
        Files.write(file, before);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void check(String what, CommandResult result, Path file) {
    List<String> lines =
        result.err().lines().filter(line -> !line.startsWith("warning: ")).toList();
    String name = Objects.requireNonNull(file.getFileName()).toString();
    String folderName = Objects.requireNonNull(file.toAbsolutePath().getParent()).toString();
    softly.assertThat(lines).as(what).hasSize(1);
    softly.assertThat(result.code()).as(what + ": " + result.err()).isEqualTo(1);
    // The folder's own name may hold anything.
    String message = result.err().replace(folder.toString(), "FOLDER");
    softly
        .assertThat(result.err())
        .as(what)
        .satisfiesAnyOf(
            text -> assertThat(text).contains(name), text -> assertThat(text).contains(folderName));
    softly
        .assertThat(message)
        .as(what)
        .doesNotContainPattern(FOREIGN)
        .doesNotContain("unexpected failure");
    if (System.getenv("SHOW_MESSAGES") != null) {
      System.out.println(what + "\n    " + message.strip());
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private void eachBrokenJson(Path file, List<String> arguments) {
    BROKEN_JSON.forEach(text -> spoilt(file, bytes(text), arguments));
    spoilt(file, new byte[] {'{', (byte) 0xff, (byte) 0xfe}, arguments);
  }

  private List<String> evaluate(Path model, Path clip, String... more) {
    List<String> line =
        new ArrayList<>(
            List.of("evaluate", "--model", model.toString(), "--clip", clip.toString()));
    line.addAll(List.of(more));
    return line;
  }

  private static final String HEADS = CLIP + "/expected.safetensors#alpha.";

  @Test
  void settingsOfModels() {
    Path model = copy(CLIP.resolve("alpha"), "alpha");
    Path clip = copy(FewWords.pretrained(), "clip");
    List<String> line = evaluate(model, clip, "--heads", HEADS, "--data", HEADS);
    eachBrokenJson(model.resolve("config.json"), line);
    Path gpt2 = copy(Golden.path("gpt2-tiny/mnli"), "gpt2");
    eachBrokenJson(
        gpt2.resolve("config.json"),
        List.of(
            "evaluate",
            "--model",
            gpt2.toString(),
            "--data",
            Golden.path("gpt2-tiny/expected.safetensors") + "#mnli."));
    softly.assertAll();
  }

  /** A Parquet file of pictures, alone in its folder. */
  private Path pictures() throws IOException {
    Path data = Files.createDirectory(folder.resolve("data"));
    return Files.copy(
        Cases.copy("case-02", folder).resolve("pics.parquet"),
        data.resolve("train-00000-of-00001.parquet"));
  }

  @Test
  void settingsOfPicturesAndTokenizers() throws IOException {
    Path model = copy(CLIP.resolve("alpha"), "alpha");
    Path clip = copy(FewWords.pretrained(), "clip");
    Path classes = folder.resolve("classes.json");
    String pictures = Objects.requireNonNull(pictures().getParent()).toString();
    List<String> withHeads = evaluate(model, clip, "--heads", HEADS, "--data", pictures);
    eachBrokenJson(clip.resolve("preprocessor_config.json"), withHeads);
    List<String> withClasses =
        evaluate(model, clip, "--classes", classes.toString(), "--data", HEADS);
    eachBrokenJson(classes, withClasses);
    Files.writeString(
        classes, "{\"classnames\": {\"a\": [\"x\", \"y\", \"z\"]}, \"templates\": [\"a {}\"]}");
    eachBrokenJson(clip.resolve("tokenizer.json"), withClasses);
    spoilt(clip.resolve("tokenizer.json"), bytes("{\"model\": {\"type\": \"BPE\"}}"), withClasses);
    spoilt(
        clip.resolve("tokenizer.json"),
        bytes("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"b\"}, \"merges\": [\"a\"]}}"),
        withClasses);
    softly.assertAll();
  }

  @Test
  void weights() throws IOException {
    Path model = copy(CLIP.resolve("alpha"), "alpha");
    Path weights = model.resolve("model.safetensors");
    List<String> inspect = List.of("inspect", model.toString());
    BROKEN_JSON.forEach(header -> spoilt(weights, withHeader(header), inspect));
    byte[] whole = Files.readAllBytes(weights);
    spoilt(weights, Arrays.copyOf(whole, 100), inspect);
    spoilt(weights, Arrays.copyOf(whole, 5), inspect);
    spoilt(weights, new byte[300], inspect);
    Files.delete(weights);
    eachBrokenJson(model.resolve("model.safetensors.index.json"), inspect);
    softly.assertAll();
  }

  private static byte[] withHeader(String header) {
    byte[] text = bytes(header);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (int i = 0; i < 8; i++) {
      out.write((int) ((long) text.length >> (8 * i)));
    }
    out.writeBytes(text);
    return out.toByteArray();
  }

  @Test
  void dataAndModules() throws IOException {
    Path parquet = pictures();
    byte[] whole = Files.readAllBytes(parquet);
    List<String> line =
        evaluate(
            CLIP.resolve("alpha"),
            FewWords.pretrained(),
            "--heads",
            HEADS,
            "--data",
            Objects.requireNonNull(parquet.getParent()).toString());
    int length = whole.length;
    List<byte[]> faults =
        List.of(
            new byte[0],
            Arrays.copyOf(whole, length / 2),
            filled(whole.clone(), 4, 60, 0xff),
            filled(whole.clone(), length - 60, length - 8, 0xff),
            filled(whole.clone(), length - 8, length - 4, 0x7f));
    faults.forEach(fault -> spoilt(parquet, fault, line));
    Path module = folder.resolve("model.pt");
    List<String> fisher =
        List.of(
            "fisher",
            "--torchscript",
            module.toString(),
            "--data",
            HEADS,
            "--out",
            folder.resolve("f.safetensors").toString());
    for (String text : List.of("", "PK\u0003\u0004", "not a module")) {
      spoilt(module, text.getBytes(StandardCharsets.ISO_8859_1), fisher);
    }
    softly.assertAll();
  }

  private static byte[] filled(byte[] bytes, int from, int to, int value) {
    Arrays.fill(bytes, from, to, (byte) value);
    return bytes;
  }

  @Test
  void configurations() throws IOException {
    Path mine = Files.createDirectories(folder.resolve("method")).resolve("mine.yaml");
    List<String> line = List.of("--config-dir", folder.toString(), "method=mine", "--cfg", "job");
    List.of(
            "a: [1",
            "a: {b: 1",
            "a: 'x",
            "a: \"\\q\"",
            "a: @x",
            "a: `x`",
            "a: %x",
            "a: *none",
            "a: !foo 1",
            "a: !!timestamp 2020-01-01",
            "a: !!python/object:os.system x",
            "a: b: c",
            "\ta: 1",
            "a: 1\n b: 2",
            "a: 1\na: 2",
            "- 1",
            "x",
            "a: \u0000",
            "a: |\n x\ny",
            "--- 1\n--- 2",
            "%YAML 3.0\n---\na: 1",
            "&a [*a]",
            "? [a]\n: 1",
            "yes: 1",
            "a: !!int x")
        .forEach(text -> spoilt(mine, bytes(text), line));
    spoilt(mine, new byte[] {'a', ':', ' ', (byte) 0xff}, line);
    softly.assertAll();
  }

  @Test
  void optionsOnTheCommandLine() {
    for (String line :
        List.of(
            "fisher --model m --data d --out o --examples x",
            "fisher --model m --data d --out o --seed 1.5",
            "fisher --model m --data d --out o --selection last",
            "evaluate --model m --data d --batch-size 99999999999",
            "merge --base b --out o --model m --fisher f --minimal-fisher x",
            "merge --base b --out o --model m --fisher f --normalize all",
            "average --base b --out o --model m --coefficients 1,x",
            "similarity a b --metric dot",
            "average --base b --out o --model",
            "average --base b --out o --model m --overwrite=maybe")) {
      CommandResult result = CommandResult.run(line.split(" ", -1));
      softly.assertThat(result.code()).as(line).isEqualTo(2);
      softly
          .assertThat(result.err())
          .as(line)
          .doesNotContainPattern(FOREIGN)
          .doesNotContainPattern("\\b(?:an? (?:int|long|double|float|boolean)|[A-Z]{4,})\\b");
      if (System.getenv("SHOW_MESSAGES") != null) {
        System.out.println(line + "\n    " + result.err().strip());
      }
    }
    softly.assertAll();
  }

  @Test
  void tokens() {
    Path token = folder.resolve("token");
    CommandResult result =
        CommandResult.run(
            Map.of(
                "HF_HOME",
                folder.toString(),
                "HF_HUB_OFFLINE",
                "1",
                "HF_TOKEN_PATH",
                "/proc/self/mem"),
            List.of(
                "modelpool.models={_pretrained_: x/y}",
                "print_config=false",
                "path.root_dir=" + folder));
    softly.assertThat(result.err()).as(token.toString()).doesNotContainPattern(FOREIGN);
    softly.assertThat(result.code()).isEqualTo(1);
    softly.assertAll();
  }
}
