package org.fishermerge.cli;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.fishermerge.estimate.Gpus;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The arrows between the modules point down only, and each library has one home. */
final class ArchitectureTest {
  private static final String ROOT = "org.fishermerge.";

  /** What each module may use of the others; everything else is forbidden. */
  private static final Map<String, Set<String>> MAY_USE =
      new TreeMap<>(
          Map.of(
              "testkit", Set.of(),
              "kernels", Set.of(),
              "checkpoint", Set.of(),
              "merge", Set.of("kernels", "checkpoint"),
              "torch", Set.of("kernels", "checkpoint", "merge"),
              "data", Set.of("checkpoint"),
              "estimate", Set.of("kernels", "checkpoint", "torch", "data"),
              "cli", Set.of("kernels", "checkpoint", "merge", "torch", "data", "estimate")));

  /** Which modules may use a library. */
  private static final Map<String, Set<String>> HOMES =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry("org.bytedeco", Set.of("torch")),
              Map.entry("jcuda", Set.of("estimate")),
              Map.entry("picocli", Set.of("cli")),
              Map.entry("org.snakeyaml", Set.of("data", "cli")),
              Map.entry("ai.djl", Set.of("data")),
              Map.entry("org.slf4j", Set.of("data")),
              Map.entry("dev.hardwood", Set.of("data")),
              Map.entry("org.apache.arrow", Set.of("data")),
              Map.entry("com.google.flatbuffers", Set.of("data")),
              Map.entry("com.luciad.imageio.webp", Set.of("data")),
              Map.entry("com.fasterxml.jackson.dataformat.csv", Set.of("data")),
              Map.entry(
                  "com.fasterxml.jackson.databind", Set.of("torch", "data", "estimate", "cli")),
              Map.entry(
                  "com.fasterxml.jackson.core", Set.of("checkpoint", "data", "estimate", "cli"))));

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("org.fishermerge");

  static Stream<Arguments> arrows() {
    List<Arguments> forbidden = new ArrayList<>();
    MAY_USE.forEach((user, used) ->
        MAY_USE.keySet().stream()
            .filter(other -> !other.equals(user) && !used.contains(other))
            .forEach(other -> forbidden.add(Arguments.of(user, other))));
    return forbidden.stream();
  }

  @ParameterizedTest(name = "{0} does not know {1}")
  @MethodSource("arrows")
  void modulesKnowOnlyThoseBelow(String user, String used) {
    forbid(user, ROOT + used).check(CLASSES);
  }

  static Stream<Arguments> foreignLibraries() {
    return HOMES.entrySet().stream()
        .flatMap(library ->
            MAY_USE.keySet().stream()
                .filter(module -> !library.getValue().contains(module))
                .map(module -> Arguments.of(module, library.getKey())));
  }

  @ParameterizedTest(name = "{0} does not use {1}")
  @MethodSource("foreignLibraries")
  void librariesStayInTheirModule(String module, String library) {
    forbid(module, library).check(CLASSES);
  }

  private static ArchRule forbid(String module, String usedPackage) {
    return noClasses()
        .that()
        .resideInAPackage(ROOT + module + "..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(usedPackage + "..");
  }

  // A rule over nothing, or over names that nobody has, would always hold.

  @Test
  void everyModuleIsLookedAt() {
    Set<String> modules = new TreeSet<>();
    CLASSES.forEach(type -> {
      String rest = type.getPackageName().substring(ROOT.length());
      modules.add(rest.contains(".") ? rest.substring(0, rest.indexOf('.')) : rest);
    });
    assertThat(modules).isEqualTo(MAY_USE.keySet());
  }

  static Stream<Arguments> usesThatExist() {
    Stream<Arguments> arrows =
        MAY_USE.entrySet().stream()
            .flatMap(e -> e.getValue().stream().map(used -> Arguments.of(e.getKey(), ROOT + used)));
    Stream<Arguments> libraries =
        HOMES.entrySet().stream()
            .flatMap(e -> e.getValue().stream().map(home -> Arguments.of(home, e.getKey())));
    return Stream.concat(arrows, libraries);
  }

  @ParameterizedTest(name = "{0} does use {1}")
  @MethodSource("usesThatExist")
  void aRuleAgainstAnExistingUseFails(String module, String usedPackage) {
    assertThat(forbid(module, usedPackage).evaluate(CLASSES).hasViolation()).isTrue();
  }

  /** What recipes and files of coefficients are read with, too. */
  private static final Pattern READS_YAML =
      Pattern.compile(Pattern.quote(ROOT + "cli.config.") + "(YamlFile|ConfigValue)(\\$.*)?");

  /** A merge starts without what only a configuration needs. */
  @Test
  void theCommandsKnowTheProgramInOnePlace() {
    assertThat(
            CLASSES.stream()
                .filter(type -> type.getPackageName().equals(ROOT + "cli"))
                .filter(type ->
                    type.getDirectDependenciesFromSelf().stream()
                        .map(d -> d.getTargetClass().getName())
                        .filter(name -> !READS_YAML.matcher(name).matches())
                        .anyMatch(name ->
                            name.startsWith(ROOT + "cli.program.")
                                || name.startsWith(ROOT + "cli.config.")))
                .map(type -> type.getSimpleName()))
        .containsExactly("Work"); // of RunCommand
    forbid("cli.task", ROOT + "cli.program").check(CLASSES);
    forbid("cli.task", ROOT + "cli.config").check(CLASSES);
    forbid("cli.tune", ROOT + "cli.program").check(CLASSES);
    forbid("cli.tune", ROOT + "cli.config").check(CLASSES);
    forbid("cli.config", ROOT + "cli.task").check(CLASSES);
    forbid("cli.config", ROOT + "cli.program").check(CLASSES);
  }

  @Test
  void oneClassKnowsJcuda() {
    noClasses()
        .that()
        .doNotBelongToAnyOf(Gpus.class)
        .should()
        .dependOnClassesThat()
        .resideInAPackage("jcuda..")
        .check(CLASSES);
  }

  @Test
  void onlyTheEntryPointOfTheCommandsIsPublic() {
    assertThat(
            CLASSES.stream()
                .filter(type -> type.getPackageName().equals(ROOT + "cli"))
                .filter(type -> type.getModifiers().toString().contains("PUBLIC"))
                .map(type -> type.getSimpleName()))
        .containsExactly("Main");
  }
}
