package org.fishermerge.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.LabelMap.Matching;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class LabelMapTest {
  private static final LabelMap.Where WHERE = new LabelMap.Where("data", "model");

  /** EuroSAT's folders, and the class names of its prompts. */
  private static final String EUROSAT =
      "AnnualCrop/Forest/HerbaceousVegetation/Highway/Industrial/Pasture/PermanentCrop/Residential"
          + "/River/SeaLake";

  private static final String EUROSAT_PROMPTS =
      "annual crop land/forest/brushland or shrubland/highway or road"
          + "/industrial buildings or commercial buildings/pasture land/permanent crop land"
          + "/residential buildings or homes or apartments/river/lake or sea";

  private static List<String> names(String text) {
    return List.of(text.split("/"));
  }

  private static LabelMap map(String data, String model, boolean texts, Matching matching) {
    List<String> classes = names(model);
    return LabelMap.of(
        Optional.of(names(data)), texts, Optional.of(classes), classes.size(), matching, WHERE);
  }

  private static List<Long> classes(LabelMap map, int labels) {
    return LongStream.range(0, labels).map(map::of).boxed().toList();
  }

  @ParameterizedTest
  @CsvSource({
    "cat/dog/bus, cat/dog/bus, 0 1 2, ''",
    "Polka_Dotted/annual-crop, polka dotted/Annual Crop, 0 1, ''",
    "dog/cat/bus, cat/dog/bus, 1 0 2, mapped by name",
    "entailment/not_entailment, NOT_ENTAILMENT/ENTAILMENT, 1 0, mapped by name",
    "1/2/3/4/5/6/7/8/9/0, 0/1/2/3/4/5/6/7/8/9, 1 2 3 4 5 6 7 8 9 0, mapped by name",
    "unacceptable/acceptable, acceptable/unacceptable, 1 0, mapped by name",
    "negative/positive, LABEL_0/LABEL_1, 0 1, ''",
    "0/1/2, cat/dog/bus, 0 1 2, ''",
    "1/2/3, cat/dog/bus, 0 1 2, ''",
    "0 - zero/1 - one, zero/one, 0 1, spelled otherwise",
    "0 - zero/1 - one, 0/1, 0 1, ''",
    "same/same/other, same/same/other, 0 1 2, ''"
  })
  void numbersMeanWhatTheirNamesSay(String data, String model, String expected, String remark) {
    LabelMap map = map(data, model, false, Matching.AUTO);
    int count = names(data).size();
    assertThat(classes(map, count))
        .isEqualTo(Stream.of(expected.split(" ")).map(Long::valueOf).toList());
    if (remark.isEmpty()) {
      assertThat(map.remark()).isEmpty();
    } else {
      assertThat(map.remark().orElseThrow()).contains("data", "model", remark);
    }
    assertThat(map.of(Examples.NO_LABEL)).isEqualTo(Examples.NO_LABEL);
    assertThat(map.of(count)).matches(label -> label < 0 || label >= count, "no class");
  }

  @Test
  void otherSpellingsOfTheSameListStandAndAreSaid() {
    LabelMap map = map(EUROSAT, EUROSAT_PROMPTS, false, Matching.AUTO);
    assertThat(classes(map, 10)).isEqualTo(LongStream.range(0, 10).boxed().toList());
    assertThat(map.remark().orElseThrow())
        .contains("\"HerbaceousVegetation\" is taken for \"brushland or shrubland\"");
  }

  @ParameterizedTest
  @CsvSource({
    "a/b/c/d/e, cat/dog/bus",
    "apple/pear/plum, cat/dog/bus",
    "cat/dog/horse, cat/dog/bus",
    "cat/dog, cat/dog/bus",
    "cat/dog/bus/car, cat/dog/bus",
    "dog/cat/car, cat/dog/bus",
    "dog/cat/bus/big dog/big bus/k/l/m/n/o, cat/dog/bus/big cat/big bus/k/l/m/n/o",
    "0/1/10/2, zero/one/two/three",
    "1/2/3, 0/1/2",
    "pos/neg, NEGATIVE/POSITIVE",
    "0/1/2/3, LABEL_0/LABEL_1/LABEL_2",
    "small cat/big cat, big cat animal/small cat animal",
    "cat/cat/dog, dog/cat/cat"
  })
  void otherSetsAreRefusedWithBothLists(String data, String model) {
    for (Matching matching : List.of(Matching.AUTO, Matching.NAME)) {
      if (matching == Matching.NAME && data.equals("cat/dog")) {
        continue; // some of the model's
      }
      assertThatThrownBy(() -> map(data, model, false, matching))
          .as("%s", matching)
          .isInstanceOf(InputException.class)
          .hasMessageContainingAll("data", "model", names(data).getFirst(), names(model).getLast());
    }
    List<Long> places = classes(map(data, model, false, Matching.POSITION), 3);
    assertThat(places).containsExactly(0L, 1L, 2L);
  }

  @Test
  void aPermutedListOfOtherSpellingsIsRefused() {
    List<String> rotated = new ArrayList<>(names(EUROSAT));
    rotated.add(rotated.removeFirst());
    assertThatThrownBy(() -> map(String.join("/", rotated), EUROSAT_PROMPTS, false, Matching.AUTO))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("AnnualCrop", "annual crop land", "--match-classes position");
  }

  /**
   * FusionBench's own data sets may spell classes in any way, but not list them in another order.
   */
  @Test
  void aListThatWasMadeForTheDataStands() {
    LabelMap map = map("n01/n02/n03", "cat/dog/bus", false, Matching.LISTED);
    assertThat(classes(map, 3)).containsExactly(0L, 1L, 2L);
    assertThat(map.remark().orElseThrow()).contains("spelled otherwise", "\"n01\"", "\"cat\"");
    assertThat(classes(map("bus/dog/cat", "cat/dog/bus", false, Matching.LISTED), 3))
        .containsExactly(2L, 1L, 0L);
    assertThatThrownBy(() -> map("dog/n02/n03", "cat/dog/bus", false, Matching.LISTED))
        .isInstanceOf(InputException.class);
    assertThatThrownBy(() -> Matching.parse("listed", "--match-classes"))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("auto, name or position");
  }

  @Test
  void byNameSomeOfTheClassesAreEnough() {
    LabelMap map = map("bus/cat", "cat/dog/bus", false, Matching.NAME);
    assertThat(classes(map, 2)).containsExactly(2L, 0L);
    assertThat(map.of(2)).isEqualTo(LabelMap.NO_CLASS);
  }

  @Test
  void labelsThatAreNamesAreLookedUp() {
    assertThat(classes(map("Big-Red-Bus/cat", "cat/dog/big red bus", true, Matching.AUTO), 2))
        .containsExactly(2L, 0L);
    // As datasets has it, a text that is no class name may be its number.
    assertThat(classes(map("0/10/2", "a/b/c", true, Matching.AUTO), 3))
        .containsExactly(0L, 10L, 2L);
    assertThatThrownBy(() -> map("cat/horse", "cat/dog/bus", true, Matching.AUTO))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("horse", "bus");
    assertThatThrownBy(() ->
            LabelMap.of(
                Optional.of(List.of("cat", "dog")),
                true,
                Optional.empty(),
                3,
                Matching.AUTO,
                WHERE))
        .isInstanceOf(InputException.class)
        .hasMessageContainingAll("cat, dog", "--classes", "id2label");
  }

  @Test
  void aHeadWithoutNamesTakesAsManyClassesAsItHas() {
    List<String> ten = IntStream.range(0, 10).mapToObj(k -> "class of " + k).toList();
    assertThat(
            classes(
                LabelMap.of(Optional.of(ten), false, Optional.empty(), 10, Matching.AUTO, WHERE),
                10))
        .isEqualTo(LongStream.range(0, 10).boxed().toList());
    assertThatThrownBy(
            () -> LabelMap.of(Optional.of(ten), false, Optional.empty(), 7, Matching.AUTO, WHERE))
        .isInstanceOf(InputException.class)
        .hasMessageContaining("its 10 classes");
  }
}
