package org.fishermerge.benchmarks;

import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.fishermerge.checkpoint.InputException;

/**
 * What a quality report was asked for.
 *
 * @param seeds of training, from 1 on
 * @param only which pools, by a part of their names
 * @param keep where trained models are kept, and found again
 * @param fashion folder of Fashion-MNIST
 * @param digits gzipped file of digits
 * @param omniglot folder of Omniglot's small archives
 */
record QualityOptions(
    int seeds, Pattern only, Optional<Path> keep, Path fashion, Path digits, Path omniglot) {
  /** Where Debian's packages dataset-fashion-mnist and python3-sklearn have them. */
  private static final Path FASHION = Path.of("/usr/share/datasets/fashion-mnist");

  private static final Path DIGITS =
      Path.of("/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz");
  private static final Path OMNIGLOT = Path.of("omniglot", "python");

  /**
   * Of a command line.
   *
   * @throws InputException if it holds anything else
   */
  static QualityOptions of(String... arguments) {
    QualityOptions options =
        new QualityOptions(2, Pattern.compile(""), Optional.empty(), FASHION, DIGITS, OMNIGLOT);
    for (int i = 0; i < arguments.length; i++) {
      String name = arguments[i];
      if (name.equals("--quick")) {
        options = options.withSeeds(1);
      } else if (i + 1 < arguments.length) {
        options = options.with(name, arguments[++i]);
      } else {
        throw unknown(name);
      }
    }
    return options;
  }

  private QualityOptions with(String name, String value) {
    return switch (name) {
      case "--seeds" -> withSeeds(seeds(value));
      case "--only" -> new QualityOptions(seeds, pattern(value), keep, fashion, digits, omniglot);
      case "--keep" ->
          new QualityOptions(seeds, only, Optional.of(Path.of(value)), fashion, digits, omniglot);
      case "--fashion-mnist" ->
          new QualityOptions(seeds, only, keep, Path.of(value), digits, omniglot);
      case "--digits" -> new QualityOptions(seeds, only, keep, fashion, Path.of(value), omniglot);
      case "--omniglot" -> new QualityOptions(seeds, only, keep, fashion, digits, Path.of(value));
      default -> throw unknown(name);
    };
  }

  private static int seeds(String value) {
    try {
      int seeds = Integer.parseInt(value);
      if (seeds > 0) {
        return seeds;
      }
    } catch (NumberFormatException e) {
      // As for 0: what is expected is said below.
    }
    throw new InputException("--seeds " + value + ": expected a whole number above 0");
  }

  private static Pattern pattern(String value) {
    try {
      return Pattern.compile(value);
    } catch (PatternSyntaxException e) {
      throw new InputException(
          "--only " + value + ": is no regular expression: " + e.getDescription(), e);
    }
  }

  private QualityOptions withSeeds(int wanted) {
    return new QualityOptions(wanted, only, keep, fashion, digits, omniglot);
  }

  private static InputException unknown(String argument) {
    return new InputException(
        argument
            + ": expected --quick, --seeds N, --only REGEX, --keep DIR, --fashion-mnist DIR,"
            + " --digits FILE or --omniglot DIR");
  }
}
