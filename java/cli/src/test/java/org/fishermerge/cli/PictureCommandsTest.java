package org.fishermerge.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.data.Offset;
import org.fishermerge.testkit.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Settings files and formats as people have them, against transformers in float64. */
final class PictureCommandsTest {
  @TempDir Path folder;

  @Test
  void settingsInTheProcessorsFileAreRead() throws IOException {
    Path files = Cases.copy("case-02", folder);
    CommandResult result = evaluate(files, "pics.parquet").succeeds();
    assertThat(result.out()).contains("0 of 2");
    assertThat(loss(files)).isCloseTo(5.497266, Offset.offset(1e-5));
  }

  @Test
  void settingsInTheProcessorsFileComeFirst() throws IOException {
    Path files = Cases.copy("case-02", folder);
    Path preprocessor = files.resolve("clip/preprocessor_config.json");
    Files.writeString(preprocessor, "{\"size\": 32, \"crop_size\": 32, \"resample\": 3}");
    CommandResult result = evaluate(files, "pics.parquet");
    assertThat(result.err().lines())
        .singleElement()
        .asString()
        .startsWith("warning: ")
        .contains("processor_config.json", preprocessor.toString(), "crop_size", "size");
    assertThat(result.code()).isZero();
    assertThat(loss(files)).isCloseTo(5.497266, Offset.offset(1e-5));
  }

  @ParameterizedTest
  @CsvSource({
    "cmyk-jpeg, 0.8485681",
    "webp, 0.9504104",
    "gif, 0.4763245",
    "bmp, 0.9504104",
    "tiff, 0.9504104"
  })
  void everyFormatIsRead(String format, double expected) throws IOException {
    Path files = Cases.copy("case-17", folder);
    evaluate(files, format + ".parquet").succeeds();
    assertThat(loss(files)).isCloseTo(expected, Offset.offset(1e-5));
  }

  @Test
  void missingSettingsAreSaid() throws IOException {
    Path files = Cases.copy("case-17", folder);
    Files.delete(files.resolve("clip/preprocessor_config.json"));
    CommandResult result = evaluate(files, "gif.parquet");
    assertThat(result.err().lines())
        .singleElement()
        .asString()
        .startsWith("warning: ")
        .contains(files.resolve("clip").toString(), "no picture settings", "32 pixels");
    assertThat(result.code()).isZero();
    assertThat(loss(files)).isCloseTo(0.4763245, Offset.offset(1e-5)); // which are CLIP's
  }

  @Test
  void readyTensorsNeedNoSettings() throws IOException {
    Path files = Cases.copy("case-17", folder);
    Files.delete(files.resolve("clip/preprocessor_config.json"));
    String ready = Golden.path("clip-tiny/expected.safetensors") + "#alpha.";
    evaluate(files, ready, "--examples", "2").succeeds();
  }

  @Test
  void unknownSettingsAreSaidAndOddOnesRefused() throws IOException {
    Path files = Cases.copy("case-17", folder);
    Path settings = files.resolve("clip/preprocessor_config.json");
    String text = Files.readString(settings);
    Files.writeString(settings, text.replaceFirst("\\{", "{\"sharpen\": true, \"tint\": 3, "));
    CommandResult result = evaluate(files, "bmp.parquet");
    assertThat(result.err().lines())
        .singleElement()
        .asString()
        .startsWith("warning: ")
        .contains(settings.toString(), "sharpen", "tint");
    assertThat(result.code()).isZero();

    Files.writeString(settings, text.replace("CLIPImageProcessor", "DonutImageProcessor"));
    evaluate(files, "bmp.parquet")
        .fails(1, settings.toString(), "DonutImageProcessor is not supported", "ViTImageProcessor");
  }

  private CommandResult evaluate(Path files, String data, String... more) {
    String clip = files.resolve("clip").toString();
    List<String> args =
        new ArrayList<>(
            List.of(
                "evaluate",
                "--model",
                clip,
                "--clip",
                clip,
                "--heads",
                files.resolve("head.safetensors").toString(),
                "--data",
                data.startsWith("/") ? data : files.resolve(data).toString(),
                "--report",
                files.resolve("report.json").toString(),
                "--overwrite"));
    args.addAll(List.of(more));
    return CommandResult.run(args);
  }

  private static double loss(Path files) throws IOException {
    return new JsonMapper()
        .readTree(files.resolve("report.json").toFile())
        .path("loss")
        .doubleValue();
  }
}
