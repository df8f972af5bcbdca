package org.fishermerge.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.cli.config.ConfigValue;
import org.fishermerge.cli.config.ConfigValue.Scalar;
import org.fishermerge.cli.config.ConfigValue.Sequence;
import org.fishermerge.cli.config.YamlFile;
import org.fishermerge.merge.PatternSetting;
import org.fishermerge.merge.TensorSetting;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options that give each model its coefficient. */
final class CoefficientOptions {
  @Option(
      names = {"--coefficients", "--weights"},
      split = ",",
      paramLabel = "C",
      description = "One factor per model, in their order (default: all 1).")
  private List<Double> coefficients = List.of();

  @Option(
      names = "--coefficients-file",
      paramLabel = "FILE.yml",
      description =
          "Coefficients by parameter: regular expressions, matched from the start of the base's"
              + " names, each with a list of one factor per model or one for all. The first that"
              + " matches counts; what none matches has those of --coefficients.")
  private @Nullable Path file;

  /** The coefficient of the {@code index}-th of {@code models} models. */
  double of(int index, int models) {
    if (coefficients.isEmpty()) {
      return 1;
    }
    if (coefficients.size() != models) {
      throw new InputException(
          "--coefficients has " + coefficients.size() + " values for " + models + " models");
    }
    return coefficients.get(index);
  }

  /**
   * The coefficients of the file; null without one.
   *
   * @param output of the merge, which must not replace it
   */
  @Nullable TensorSetting byTensor(int models, Path output) {
    Path path = file;
    if (path == null) {
      return null;
    }
    AtomicOutput.requireNotOver(output, List.of(path));
    List<Double> others = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      others.add(of(i, models));
    }
    PatternSetting.Builder setting =
        PatternSetting.builder(path.toString(), TensorSetting.of(others));
    YamlFile.read(path)
        .entries()
        .forEach((pattern, value) -> setting.add(pattern, values(path, pattern, value, models)));
    return setting.build();
  }

  private static TensorSetting values(Path path, String pattern, ConfigValue value, int models) {
    List<ConfigValue> items =
        value instanceof Sequence sequence ? sequence.items() : List.of(value);
    List<Double> numbers = new ArrayList<>();
    for (ConfigValue item : items) {
      if (!(item instanceof Scalar scalar && scalar.value() instanceof Number number)) {
        throw new InputException(
            path + ": '" + pattern + "' has a value that is no number; expected " + form(models));
      }
      numbers.add(number.doubleValue());
    }
    if (numbers.size() != models && !(numbers.size() == 1 && !(value instanceof Sequence))) {
      throw new InputException(
          path
              + ": '"
              + pattern
              + "' has "
              + numbers.size()
              + " values for "
              + models
              + " models; expected "
              + form(models));
    }
    return TensorSetting.of(numbers);
  }

  private static String form(int models) {
    return "a list of one number for each of " + models + " models, or one number for all";
  }
}
