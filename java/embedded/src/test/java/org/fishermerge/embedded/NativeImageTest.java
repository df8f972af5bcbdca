package org.fishermerge.embedded;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * GraalVM makes code for those calls of C functions only that the one jar's metadata lists. No
 * native image has been built; what is compared here is whether the list is complete.
 */
final class NativeImageTest {
  private static final Path METADATA =
      Path.of(
          "src/main/resources/META-INF/native-image/org.fishermerge/fisher-merge-embedded",
          "reachability-metadata.json");

  private static final String VARIADIC = ", \"options\": {\"firstVariadicArg\": 2}";

  private static final Map<String, String> NAMES =
      Map.of(
          "int",
          "jint",
          "long",
          "jlong",
          "float",
          "jfloat",
          "double",
          "jdouble",
          "MemorySegment",
          "void*");

  @Test
  void theMetadataListsEveryDowncall() throws Exception {
    TreeSet<String> calls = new TreeSet<>();
    Class<?> cpu = Class.forName("org.fishermerge.kernels.NativeBindings");
    List<Class<?>> holders = new ArrayList<>(List.of(cpu.getDeclaredClasses()));
    holders.add(cpu);
    holders.add(Class.forName("org.fishermerge.checkpoint.Posix"));
    for (Class<?> holder : holders) {
      for (Field field : holder.getDeclaredFields()) {
        if (field.getType() == MethodHandle.class && Modifier.isStatic(field.getModifiers())) {
          field.setAccessible(true);
          // open(2) is the one function with varying arguments.
          String options = field.getName().equals("OPEN") && holder != cpu ? VARIADIC : "";
          calls.add(entry(((MethodHandle) field.get(null)).type(), options));
        }
      }
    }
    // What asks for the ABI's version is not kept.
    calls.add(entry(MethodType.methodType(int.class), ""));
    assertThat(calls).hasSizeGreaterThan(20);

    TreeSet<String> listed = new TreeSet<>();
    Pattern.compile("\\{\"returnType\".*?\\](, \"options\": \\{.*?\\})?\\}")
        .matcher(Files.readString(METADATA))
        .results()
        .forEach(match -> listed.add(match.group()));
    assertThat(listed).isEqualTo(calls);
  }

  @Test
  void theMetadataListsEveryResource() throws IOException {
    String metadata = Files.readString(METADATA);
    assertThat(metadata).contains("\"org/fishermerge/kernels/native/*/*\"");
    for (String module : List.of("kernels", "checkpoint", "merge")) {
      Path resources = Path.of("..", module, "src/main/resources");
      if (Files.exists(resources)) {
        try (Stream<Path> files = Files.walk(resources)) {
          files
              .filter(Files::isRegularFile)
              .forEach(
                  file -> assertThat(metadata).contains("\"" + resources.relativize(file) + "\""));
        }
      }
    }
  }

  private static String entry(MethodType type, String options) {
    List<String> parameters =
        type.parameterList().stream()
            .map(parameter -> '"' + NAMES.get(parameter.getSimpleName()) + '"')
            .toList();
    return "{\"returnType\": \"%s\", \"parameterTypes\": [%s]%s}"
        .formatted(
            NAMES.get(type.returnType().getSimpleName()), String.join(", ", parameters), options);
  }
}
