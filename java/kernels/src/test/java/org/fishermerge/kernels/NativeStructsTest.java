package org.fishermerge.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.StructLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The struct layouts and constants of the binding are those that the C side asserts. */
class NativeStructsTest {
  private static final Path ASSERTIONS = Path.of("../../native/tests/struct_layouts.cc");
  private static final Pattern ASSERTION =
      Pattern.compile("static_assert\\((?<what>.+) == (?<number>\\d+)\\);");

  @Test
  void theBindingHasTheLayoutsThatTheCompilerIsAskedFor() throws IOException {
    Map<String, Long> asserted = new TreeMap<>();
    for (String line : Files.readAllLines(ASSERTIONS)) {
      Matcher matcher = ASSERTION.matcher(line);
      if (matcher.matches()) {
        asserted.put(matcher.group("what"), Long.valueOf(matcher.group("number")));
      } else {
        assertThat(line).doesNotContain("static_assert");
      }
    }
    assertThat(asserted).isEqualTo(ofTheBinding());
  }

  private static Map<String, Long> ofTheBinding() {
    Map<String, Long> facts = new TreeMap<>();
    for (StructLayout struct : NativeStructs.ALL) {
      String name = struct.name().orElseThrow();
      facts.put("sizeof(%s)".formatted(name), struct.byteSize());
      for (MemoryLayout member : struct.memberLayouts()) {
        member
            .name()
            .ifPresent(field ->
                facts.put(
                    "offsetof(%s, %s)".formatted(name, field),
                    struct.byteOffset(PathElement.groupElement(field))));
      }
    }
    for (ElementType type : ElementType.values()) {
      facts.put("FM_" + type, (long) NativeStructs.code(type));
    }
    for (TaskVectorMix.Mix how : TaskVectorMix.Mix.values()) {
      facts.put("FM_MIX_" + how, (long) NativeStructs.code(how));
    }
    for (int k = 0; k < CudaDevice.PRECISIONS.size(); k++) {
      facts.put("FMC_" + CudaDevice.PRECISIONS.get(k).toUpperCase(Locale.ROOT), (long) k);
    }
    facts.put("FM_ABI_VERSION", (long) NativeBindings.ABI_VERSION);
    facts.put("FM_INVALID_ARGUMENT", (long) NativeStructs.INVALID_ARGUMENT);
    facts.put("FM_FOUND_SLACK", (long) NativeStructs.FOUND_SLACK);
    facts.put("FM_SAMPLE_GROUP", (long) NativeStructs.SAMPLE_GROUP);
    facts.put("FM_PAIR_SUMS_SCRATCH", NativeStructs.PAIR_SUMS_SCRATCH);
    facts.put("FMC_ABI_VERSION", (long) CudaBindings.ABI_VERSION);
    facts.put("FMC_OUT_OF_MEMORY", (long) NativeStructs.OUT_OF_MEMORY);
    return facts;
  }
}
