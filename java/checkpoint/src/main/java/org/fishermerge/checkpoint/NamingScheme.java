package org.fishermerge.checkpoint;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** Programs whose names of parameters are not those of transformers, told by their names. */
public final class NamingScheme {
  private record Scheme(String text, Pattern sign) {}

  private static final String CONVERT = "; convert it to transformers' layout first";

  /** The more telling first. */
  private static final List<Scheme> SCHEMES =
      List.of(
          scheme(
              "OpenAI's CLIP or open_clip" + CONVERT,
              "visual\\.(conv1\\.|transformer\\.resblocks\\.|trunk\\.|class_embedding)"
                  + "|transformer\\.resblocks\\."),
          scheme("a whole Stable Diffusion file" + CONVERT, "model\\.diffusion_model\\."),
          scheme("diffusers", "(down_blocks|up_blocks|mid_block)\\."),
          scheme(
              "torchvision's ViT" + CONVERT,
              "encoder\\.layers\\.encoder_layer_\\d+\\.|conv_proj\\."),
          scheme("timm or DINO" + CONVERT, "blocks\\.\\d+\\.attn\\.qkv\\."),
          scheme("torchvision or timm, a ResNet" + CONVERT, "layer[1-4]\\.\\d+\\.conv\\d\\."),
          scheme("Meta's own Llama files" + CONVERT, "layers\\.\\d+\\.attention\\.w[qkvo]\\."),
          scheme("llama.cpp" + CONVERT, "blk\\.\\d+\\.attn_"),
          scheme(
              "Megatron" + CONVERT, "language_model\\.encoder\\.layers\\.\\d+\\.self_attention\\."),
          scheme("fairseq" + CONVERT, "(encoder|decoder)\\.sentence_encoder\\."),
          scheme("Flax" + CONVERT, "(params[./]|.*[./](kernel|embedding)$)"));

  private NamingScheme() {}

  private static Scheme scheme(String text, String sign) {
    return new Scheme(text, Pattern.compile(sign));
  }

  /** What writes such names, and what to do about it; empty if that cannot be told. */
  public static Optional<String> of(Collection<String> names) {
    return SCHEMES.stream()
        .filter(scheme -> names.stream().anyMatch(n -> scheme.sign().matcher(n).lookingAt()))
        .map(Scheme::text)
        .findFirst();
  }
}
