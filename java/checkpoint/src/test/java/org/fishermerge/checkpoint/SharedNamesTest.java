package org.fishermerge.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which names are one parameter, by configuration and data. */
final class SharedNamesTest {
  @TempDir Path folder;

  /** A model of vectors of one value, given as {@code name=value}. */
  private Checkpoint model(String config, String... tensors) throws IOException {
    Files.writeString(folder.resolve("config.json"), config);
    List<SafetensorsWriter.Declared> declared =
        List.of(tensors).stream()
            .map(t -> new SafetensorsWriter.Declared(name(t), DType.F32, List.of(2L, 1L)))
            .toList();
    Path file = folder.resolve("model.safetensors");
    Files.deleteIfExists(file);
    try (SafetensorsWriter writer = SafetensorsWriter.create(file, declared, Map.of())) {
      for (String tensor : tensors) {
        writer
            .segment(name(tensor))
            .fill(Byte.parseByte(tensor.substring(tensor.indexOf('=') + 1)));
      }
      writer.finish();
    }
    return Checkpoint.open(folder);
  }

  private static String name(String tensor) {
    return tensor.substring(0, tensor.indexOf('='));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "gpt2       | transformer.wte.weight                 | lm_head.weight",
        "bert       | bert.embeddings.word_embeddings.weight | cls.predictions.decoder.weight",
        "roberta    | roberta.embeddings.word_embeddings.weight | lm_head.decoder.weight",
        "roberta    | lm_head.bias                           | lm_head.decoder.bias",
        "distilbert | distilbert.embeddings.word_embeddings.weight | vocab_projector.weight",
        "t5         | shared.weight                          | decoder.embed_tokens.weight",
        "bart       | model.shared.weight                    | model.encoder.embed_tokens.weight",
        "gemma2     | model.embed_tokens.weight              | lm_head.weight",
        "whisper    | model.decoder.embed_tokens.weight      | proj_out.weight",
        "opt        | model.decoder.embed_tokens.weight      | lm_head.weight"
      })
  void aModelTypeThatTiesUnlessToldOtherwise(String type, String stored, String other)
      throws IOException {
    String config = "{\"model_type\": \"%s\"".formatted(type);
    for (String[] names : new String[][] {{stored, other}, {other, stored}}) {
      try (Checkpoint model = model(config + "}", names[0] + "=1")) {
        String wanted = ParameterNames.canonical(names[1]);
        assertThat(model.has(wanted)).isFalse();
        assertThat(model.tensor(wanted).name()).isEqualTo(names[0]);
        assertThat(model.floats(wanted)).hasSize(2);
      }
    }
    if (!type.equals("t5")) {
      try (Checkpoint model = model(config + ", \"tie_word_embeddings\": false}", stored + "=1")) {
        assertThat(model.find(ParameterNames.canonical(other))).isEmpty();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"llama", "mistral", "qwen2", "gpt_neox"})
  void aModelTypeThatDoesNotTieUnlessTold(String type) throws IOException {
    String stored =
        type.equals("gpt_neox") ? "gpt_neox.embed_in.weight" : "model.embed_tokens.weight";
    try (Checkpoint model = model("{\"model_type\": \"" + type + "\"}", stored + "=1")) {
      assertThat(model.namesOf(stored)).containsExactly(stored);
    }
    String config = "{\"model_type\": \"%s\", \"tie_word_embeddings\": true}".formatted(type);
    try (Checkpoint model = model(config, stored + "=1")) {
      assertThat(model.namesOf(stored)).contains("lm_head.weight");
    }
  }

  @Test
  void aVisionTransformerTiesNothing() throws IOException {
    try (Checkpoint model = model("{\"model_type\": \"vit\"}", "a.weight=1", "lm_head.weight=1")) {
      assertThat(model.namesOf("lm_head.weight")).containsExactly("lm_head.weight");
    }
  }

  /** As flan-t5: the configuration unties the head, which transformers 5 ties unless it differs. */
  @Test
  void theHeadOfT5IsTiedUnlessItDiffers() throws IOException {
    String config = "{\"model_type\": \"t5\", \"tie_word_embeddings\": false}";
    try (Checkpoint model =
        model(config, "shared.weight=1", "lm_head.weight=2", "encoder.embed_tokens.weight=1")) {
      assertThat(model.namesOf("shared.weight"))
          .containsExactlyInAnyOrder(
              "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight");
      assertThat(model.namesOf("lm_head.weight")).containsExactly("lm_head.weight");
      assertThat(model.untied()).isEmpty();
    }
  }

  /** Separate embeddings of encoder and decoder: the head is the decoder's. */
  @Test
  void anUnstoredNameGoesWithTheNearest() throws IOException {
    try (Checkpoint model =
        model(
            "{\"model_type\": \"marian\"}",
            "model.encoder.embed_tokens.weight=1",
            "model.decoder.embed_tokens.weight=2")) {
      assertThat(model.tensor("lm_head.weight").name())
          .isEqualTo("model.decoder.embed_tokens.weight");
      assertThat(model.find("model.shared.weight")).isEmpty();
      assertThat(model.untied()).isEmpty();
    }
  }

  @Test
  void nestedConfigurationsCount() throws IOException {
    String config =
        "{\"model_type\": \"llava\", \"text_config\": {\"model_type\": \"qwen2\","
            + " \"tie_word_embeddings\": true}, \"vision_config\": {\"model_type\":"
            + " \"clip_vision_model\"}}";
    try (Checkpoint model = model(config, "model.language_model.embed_tokens.weight=1")) {
      assertThat(model.tensor("lm_head.weight").name())
          .isEqualTo("model.language_model.embed_tokens.weight");
    }
  }
}
