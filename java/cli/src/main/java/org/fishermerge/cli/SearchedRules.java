package org.fishermerge.cli;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.StatisticFile;
import org.fishermerge.checkpoint.StatisticKind;
import org.fishermerge.cli.tune.Direction;
import org.fishermerge.merge.Average;
import org.fishermerge.merge.KroneckerFisher;
import org.fishermerge.merge.MergeRule;
import org.fishermerge.merge.RegMean;

/** The rules beside the average that {@code search --by kl} and {@code --by blend} try. */
final class SearchedRules {
  private SearchedRules() {}

  /**
   * Those that all models' files allow.
   *
   * @param only the statistic of the only rule wanted, if there is one
   * @throws InputException if some models have a file and others not, or the files have nothing in
   *     common
   */
  static List<Direction.Family> families(
      List<SearchCommand.Member> members,
      Optional<StatisticKind> only,
      WeightingOptions weighting) {
    Set<StatisticKind> kinds = kinds(members, only);
    List<Direction.Family> families = new ArrayList<>();
    if (kinds.contains(StatisticKind.DIAGONAL_FISHER)) {
      families.add(Direction.diagonal(weighting.rule(1)));
    }
    if (kinds.contains(StatisticKind.GRAM)) {
      families.add(Direction.regMean(RegMean.DEFAULT_OFF_DIAGONAL));
    }
    if (kinds.contains(StatisticKind.KRONECKER)) {
      families.add(
          Direction.kronecker(
              LayerRuleOptions.kronecker(KroneckerFisher.DEFAULT_DAMPING, weighting)));
    }
    return families;
  }

  private static Set<StatisticKind> kinds(
      List<SearchCommand.Member> members, Optional<StatisticKind> only) {
    if (only.isEmpty() && members.stream().allMatch(member -> member.fisherPlace == null)) {
      return Set.of();
    }
    Set<StatisticKind> kinds =
        only.map(EnumSet::of).orElseGet(() -> EnumSet.allOf(StatisticKind.class));
    for (SearchCommand.Member member : members) {
      if (member.fisherPlace == null) {
        throw new InputException(
            member.model
                + ": has no --fisher, which a rule beside the average needs of each model");
      }
      try (StatisticFile file = StatisticFile.open(member.fisherPlace)) {
        only.ifPresent(kind -> file.require(kind, "search --rule"));
        kinds.retainAll(file.layout().kinds());
      }
    }
    if (kinds.isEmpty()) {
      throw new InputException(
          "the models' --fisher files have no statistic in common; estimate the same of each");
    }
    return kinds;
  }

  /** A rule whose merge reads all of the models' files that a search may need. */
  static MergeRule widest(List<Direction.Family> families) {
    if (families.isEmpty()) {
      return new Average();
    }
    return switch (families.getLast()) {
      case Direction.Family.Single(Direction direction) -> direction.rule();
      case Direction.Family.Damped damped -> damped.at().apply(damped.start()).rule();
    };
  }
}
