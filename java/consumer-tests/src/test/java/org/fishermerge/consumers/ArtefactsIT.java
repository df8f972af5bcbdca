package org.fishermerge.consumers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.fishermerge.consumers.Published.Artefact;
import org.fishermerge.testkit.JarRules;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.w3c.dom.Element;
import org.w3c.dom.Node;

/** Rules that jars and poms must keep which other programs depend on. */
final class ArtefactsIT {
  static Stream<Artefact> artefacts() {
    return Published.artefacts().stream();
  }

  static Stream<Artefact> jars() {
    return artefacts().filter(artefact -> Files.exists(artefact.jar()));
  }

  @Test
  void nothingElseIsPublished() {
    assertThat(Published.artefacts())
        .extracting(Artefact::name)
        .containsExactly(
            "fisher-merge-bom",
            "fisher-merge-checkpoint",
            "fisher-merge-data",
            "fisher-merge-embedded",
            "fisher-merge-estimate",
            "fisher-merge-kernels",
            "fisher-merge-kernels-cuda",
            "fisher-merge-kernels-linux-aarch64",
            "fisher-merge-merge",
            "fisher-merge-torch");
    assertThat(jars()).hasSize(9);
  }

  @ParameterizedTest
  @MethodSource("jars")
  void aJarHasItsOwnPackagesAndItsLicence(Artefact artefact) throws IOException {
    String module =
        artefact.name().replaceAll("^fisher-merge-", "org.fishermerge.").replace('-', '.');
    JarRules.check(artefact.jar(), module, packages(module));
  }

  private static Set<String> packages(String module) {
    return module.equals("org.fishermerge.embedded")
        ? Set.of(
            "org.fishermerge.kernels",
            "org.fishermerge.checkpoint",
            "org.fishermerge.merge",
            "org.fishermerge.shaded")
        : Set.of(module);
  }

  @Test
  void theOneJarHasTheLicencesOfWhatItHoldsAndMetadata() throws IOException {
    Artefact embedded =
        jars().filter(jar -> jar.name().endsWith("embedded")).findFirst().orElseThrow();
    assertThat(JarRules.names(embedded.jar()))
        .contains(
            "META-INF/native-image/org.fishermerge/fisher-merge-embedded/reachability-metadata.json",
            "META-INF/third-party/jackson-core/LICENSE",
            "META-INF/third-party/jackson-core/NOTICE",
            "META-INF/third-party/jackson-core/FastDoubleParser-LICENSE",
            "META-INF/third-party/jackson-core/Schubfach-LICENSE");
  }

  @ParameterizedTest
  @MethodSource("artefacts")
  void aPomStandsAlone(Artefact artefact) throws Exception {
    String text = Published.read(artefact.pom());
    assertThat(text.replace("${project.version}", "")).doesNotContain("${");
    Element project =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(artefact.pom().toFile())
            .getDocumentElement();
    Map<String, Element> parts = children(project);
    assertThat(parts)
        .containsKeys("name", "description", "url", "licenses", "developers", "scm")
        .doesNotContainKeys("parent", "properties", "profiles", "build", "repositories");
    assertThat(text(parts, "version")).isEqualTo(Published.VERSION);
    assertThat(parts.containsKey("dependencies"))
        .isEqualTo(!artefact.name().matches(".*-(embedded|bom|kernels-.*)"));
    for (Element dependency : elements(parts.get("dependencies"))) {
      Map<String, Element> of = children(dependency);
      String group = text(of, "groupId");
      String name = text(of, "artifactId");
      assertThat(text(of, "scope")).as(name).isIn("compile", "runtime");
      if (group.equals("org.fishermerge")) {
        assertThat(artefacts().map(Artefact::name)).contains(name);
      }
      if (group.equals("org.bytedeco")) {
        assertThat(of).as("natives are left to the consumer").doesNotContainKey("classifier");
      }
    }
  }

  private static List<Element> elements(@Nullable Element parent) {
    List<Element> elements = new ArrayList<>();
    for (Node node = parent == null ? null : parent.getFirstChild();
        node != null;
        node = node.getNextSibling()) {
      if (node instanceof Element element) {
        elements.add(element);
      }
    }
    return elements;
  }

  private static Map<String, Element> children(Element parent) {
    Map<String, Element> children = new HashMap<>();
    elements(parent).forEach(element -> children.put(element.getTagName(), element));
    return children;
  }

  private static String text(Map<String, Element> parts, String name) {
    return Objects.requireNonNull(parts.get(name), name).getTextContent();
  }
}
