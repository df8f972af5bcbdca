package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.fishermerge.cli.TestTensors.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.NodeList;

/** Tables, JSON and pictures of comparisons whose values are worked out by hand. */
final class SimilarityCommandTest {
  // f = (1, 0, 0 | 3), g = (4, 0, 5 | 0), z = (0, 0, 0 | 1): overlaps fg 2/6, fz sqrt(3)/2, gz 0.
  private static final double FG = 2 / (2 * 3.0);
  private static final double FZ = Math.sqrt(3) / 2;

  @TempDir Path folder = Path.of("");

  /** The same file again for the same name. */
  private String write(String name, float... values) {
    Path file = folder.resolve(name);
    if (!Files.exists(file)) {
      TestTensors.write(
          file,
          Map.of(
              "h.0.w", Tensor.of(List.of(3L), values[0], values[1], values[2]),
              "ln_f.weight", Tensor.of(List.of(1L), values[3])));
    }
    return file.toString();
  }

  private String[] three(String... options) {
    List<String> args = new ArrayList<>(List.of("similarity"));
    args.add(write("f.fisher.safetensors", 1, 0, 0, 3));
    args.add(write("g.fisher.safetensors", 4, 0, 5, 0));
    args.add(write("z.safetensors", 0, 0, 0, 1));
    args.addAll(List.of(options));
    return args.toArray(String[]::new);
  }

  @Test
  void printsAMatrix() {
    String out = CommandResult.run(three()).succeeds().out();
    assertThat(out.lines())
        .containsExactly(
            "overlap of 3 Fishers over 4 values in 2 tensors",
            "",
            "       f      g      z",
            "f  1.000  0.333  0.866",
            "g  0.333  1.000  0.000",
            "z  0.866  0.000  1.000");
    assertThat(CommandResult.run(three("--metric", "cosine")).succeeds().out())
        .contains("cosine of 3")
        .contains("f  1.000  0.198  0.949"); // 4 / sqrt(10 * 41), 3 / sqrt(10)
  }

  @Test
  void printsLayers() {
    String out = CommandResult.run(three("--layers", "--names", "a,b,c")).succeeds().out();
    assertThat(out.lines().skip(2))
        .containsExactly(
            "layer         values   mean  least alike, most alike",
            // sqrt(4 / 9): a with b; the third is zero there.
            "h.0                3  0.667",
            // 1 of a and c; the second is zero there.
            "ln_f               1  1.000",
            "all                4  0.400  0.000 b – c, 0.866 a – c");
  }

  @Test
  void writesAllMatricesAsJson() throws Exception {
    Path file = folder.resolve("out.json");
    CommandResult.run(three("--json", file.toString())).succeeds();
    JsonNode json = new JsonMapper().readTree(Files.readString(file));
    assertThat(json.path("tasks").findValuesAsText("name")).containsExactly("f", "g", "z");
    assertThat(json.at("/tasks/0/file").textValue()).endsWith("f.fisher.safetensors");
    assertThat(json.at("/tasks/0/labels").isNull()).isTrue();
    assertThat(json.at("/model/values").longValue()).isEqualTo(4);
    assertThat(json.at("/model/tensors").intValue()).isEqualTo(2);
    assertThat(json.at("/model/overlap/0/1").doubleValue()).isCloseTo(FG, within(1e-15));
    assertThat(json.at("/model/overlap/2/0").doubleValue()).isCloseTo(FZ, within(1e-15));
    assertThat(json.at("/model/cosine/1/0").doubleValue())
        .isCloseTo(4 / Math.sqrt(410), within(1e-15));
    assertThat(json.at("/model/cosine/1/1").doubleValue()).isEqualTo(1);
    assertThat(json.path("layers").findValuesAsText("name")).containsExactly("h.0", "ln_f");
    assertThat(json.at("/layers/0/overlap/0/1").doubleValue()).isCloseTo(2 / 3.0, within(1e-15));
    assertThat(json.at("/layers/0/cosine/2/2").isNull()).isTrue();
    assertThat(json.at("/layers/1/values").longValue()).isEqualTo(1);
    assertThat(json.path("warnings").isEmpty()).isTrue();
  }

  /** The middle of a cell's edge, which no digit covers. */
  private static int cellColor(BufferedImage image, HeatMapGeometry at, int row, int column) {
    return image.getRGB(
            2 * (at.left() + column * at.cell() + at.cell() / 2),
            2 * (at.top() + row * at.cell() + 4))
        & 0xffffff;
  }

  private record HeatMapGeometry(int left, int top, int cell) {}

  /** Where the cells are, read from the SVG of the same table. */
  private static HeatMapGeometry geometry(String svg) {
    List<double[]> cells = rectangles(svg);
    // The first is the paper.
    return new HeatMapGeometry((int) cells.get(1)[0], (int) cells.get(1)[1], (int) cells.get(1)[2]);
  }

  private static List<double[]> rectangles(String svg) {
    return Pattern.compile(
            "<rect x=\"([0-9.]+)\" y=\"([0-9.]+)\" width=\"([0-9.]+)\" height=\"([0-9.]+)\""
                + " fill=\"#([0-9a-f]{6})\"/>")
        .matcher(svg)
        .results()
        .map(match ->
            IntStream.rangeClosed(1, 5)
                .mapToDouble(k ->
                    k < 5
                        ? Double.parseDouble(match.group(k))
                        : Integer.parseInt(match.group(k), 16))
                .toArray())
        .toList();
  }

  private static List<String> texts(String svg) {
    return Pattern.compile("<text [^>]*>([^<]*)</text>")
        .matcher(svg)
        .results()
        .map((MatchResult match) -> match.group(1))
        .toList();
  }

  @Test
  void drawsCellsWithTheirValues() throws Exception {
    Path svgFile = folder.resolve("map.svg");
    Path pngFile = folder.resolve("map.PNG");
    CommandResult.run(three("--image", svgFile.toString())).succeeds();
    CommandResult.run(three("--image", pngFile.toString())).succeeds();

    String svg = Files.readString(svgFile);
    NodeList rectangles =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(svgFile.toFile())
            .getElementsByTagName("rect");
    assertThat(rectangles.getLength()).isEqualTo(1 + 9 + 64);
    assertThat(texts(svg))
        .containsExactly(
            "Fisher overlap",
            "f",
            "1.00",
            "0.33",
            "0.87",
            "g",
            "0.33",
            "1.00",
            "0.00",
            "z",
            "0.87",
            "0.00",
            "1.00",
            "f",
            "g",
            "z",
            "1.00",
            "0.80",
            "0.60",
            "0.40",
            "0.20",
            "0.00");

    // The ends of viridis, and a third of the way between its ten colours exactly the fourth.
    assertThat(rectangles(svg).get(1)[4]).isEqualTo(0xfde725);
    assertThat(rectangles(svg).get(2)[4]).isEqualTo(0x31688e);
    assertThat(rectangles(svg).get(6)[4]).isEqualTo(0x440154);

    BufferedImage png = ImageIO.read(pngFile.toFile());
    HeatMapGeometry at = geometry(svg);
    assertThat(cellColor(png, at, 0, 0)).isEqualTo(0xfde725);
    assertThat(cellColor(png, at, 0, 1)).isEqualTo(0x31688e);
    assertThat(cellColor(png, at, 2, 1)).isEqualTo(0x440154);
    // Digits are there: white on dark, nearly black on bright.
    assertThat(darkest(png, at, 0, 0)).isLessThan(60);
    assertThat(brightest(png, at, 2, 1)).isGreaterThan(230);
    assertThat(png.getRGB(2, 2) & 0xffffff).isEqualTo(0xffffff);
  }

  private static IntStream greens(BufferedImage png, HeatMapGeometry at, int row, int column) {
    int size = 2 * at.cell();
    int x = 2 * at.left() + column * size;
    int y = 2 * at.top() + row * size;
    return IntStream.range(4, size - 4)
        .boxed()
        .flatMapToInt(
            dx -> IntStream.range(4, size - 4).map(dy -> (png.getRGB(x + dx, y + dy) >> 8) & 0xff));
  }

  private static int darkest(BufferedImage png, HeatMapGeometry at, int row, int column) {
    return greens(png, at, row, column).min().orElseThrow();
  }

  private static int brightest(BufferedImage png, HeatMapGeometry at, int row, int column) {
    return greens(png, at, row, column).max().orElseThrow();
  }

  @Test
  void drawsSixtyFourTasksAndTheirLayers() throws Exception {
    SplittableRandom random = new SplittableRandom(5);
    List<String> args = new ArrayList<>(List.of("similarity"));
    for (int i = 0; i < 64; i++) {
      float[] values = new float[4];
      for (int j = 0; j < 4; j++) {
        values[j] = (float) random.nextDouble(0.01, 1);
      }
      args.add(write("task" + i + ".fisher.safetensors", values));
    }
    Path map = folder.resolve("map.svg");
    args.addAll(List.of("--image", map.toString(), "--overwrite"));
    assertThat(CommandResult.run(args).succeeds().out().lines()).hasSize(3 + 64);
    assertThat(rectangles(Files.readString(map))).hasSize(1 + 64 * 64 + 64);
    assertThat(texts(Files.readString(map))).filteredOn("task63"::equals).hasSize(2);
    args.add("--layers");
    CommandResult.run(args).succeeds();
    // A row of means for each task instead of 2016 pairs.
    assertThat(rectangles(Files.readString(map))).hasSize(1 + 64 * 3 + 64);
    assertThat(texts(Files.readString(map)))
        .contains("Fisher overlap with the other tasks, mean, by layer", "h.0", "ln_f", "all");
  }

  @Test
  void zerosAreGreyAndWarnedOf() throws Exception {
    Path map = folder.resolve("map.svg");
    String zero = write("zero.safetensors", 0, 0, 0, 0);
    CommandResult result =
        CommandResult.run(
            "similarity", zero, write("one.safetensors", 1, 1, 1, 1), "--image", map.toString());
    assertThat(result.code()).isZero();
    assertThat(result.err())
        .isEqualTo("warning: %s is zero everywhere: nothing is similar to it%n".formatted(zero));
    assertThat(result.out()).containsPattern("zero +- +-\\R");
    assertThat(texts(Files.readString(map))).containsSequence("zero", "–", "–");
    assertThat(rectangles(Files.readString(map)).get(1)[4]).isEqualTo(0xd9d9d9);
  }

  @Test
  void namesAreShortAndDistinct() {
    assertThat(
            TaskNames.of(
                List.of(
                    Path.of("a/cars.fisher.safetensors"),
                    Path.of("b/cars.safetensors"),
                    Path.of("b/dtd.fisher.safetensors"),
                    Path.of("b/dtd.fisher.safetensors"),
                    Path.of("x/sub"))))
        .satisfies(names -> {
          assertThat(names).doesNotHaveDuplicates();
          assertThat(names.get(0)).isEqualTo("a/cars");
          assertThat(names.get(1)).isEqualTo("b/cars");
          assertThat(names.get(2)).endsWith("b/dtd");
          assertThat(names.get(3)).isEqualTo(names.get(2) + " (2)");
          assertThat(names.get(4)).isEqualTo("sub");
        });
  }

  @Test
  void escapesNames() throws Exception {
    Path map = folder.resolve("map.svg");
    CommandResult.run(three("--names", "a<b>,c&d,e", "--image", map.toString())).succeeds();
    DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(map.toFile());
    assertThat(texts(Files.readString(map))).contains("a&lt;b&gt;", "c&amp;d");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--names a,b | --names has 2 names for 3 files",
        "--names a,b,a | 'a' is given twice",
        "--names a,,b | a name is empty",
        "--image map.jpg | expected a name ending in .png or .svg",
      })
  void refusesWrongOptions(String testCase) {
    String[] parts = testCase.split(" \\| ", -1);
    CommandResult.run(three(parts[0].split(" ", -1))).fails(1, parts[1]);
  }

  @Test
  void writesBothFilesOrNone() throws Exception {
    Path json = folder.resolve("out.json");
    Path image = folder.resolve("map.svg");
    CommandResult.run(
            "similarity",
            write("bad.safetensors", 1, -1, 0, 0),
            write("good.safetensors", 1, 1, 1, 1),
            "--json",
            json.toString(),
            "--image",
            image.toString())
        .fails(1, "bad.safetensors", "'h.0.w'", "element 1");
    assertThat(json).doesNotExist();
    assertThat(image).doesNotExist();
    Files.writeString(image, "mine");
    CommandResult.run(three("--json", json.toString(), "--image", image.toString()))
        .fails(1, "map.svg", "--overwrite");
    assertThat(json).doesNotExist();
    assertThat(image).hasContent("mine");
    String[] args =
        three("--json", folder.resolve("f.fisher.safetensors").toString(), "--overwrite");
    CommandResult.run(args).fails(1, "must lie apart from the input");
  }
}
