package org.fishermerge.estimate;

import java.util.Locale;
import org.fishermerge.checkpoint.InputException;

/**
 * How many examples an estimate takes: a number, or as many as it needs.
 *
 * @param most that are taken; all where the data has fewer
 * @param error the relative standard error at which it ends before ({@link
 *     org.fishermerge.torch.SamplingError}); 0 to take all
 */
public record ExampleCount(long most, double error) {
  /** As many as are needed. */
  public static final String AUTO = "auto";

  /** In percent, unless it is said. */
  public static final double AUTO_PERCENT = 10;

  /** What auto does not go beyond. */
  public static final long AUTO_MOST = 16_384;

  /** What auto does not end before: fewer examples do not tell their own error well enough. */
  public static final long AUTO_LEAST = 128;

  /** That many. */
  public static ExampleCount of(long examples) {
    return new ExampleCount(examples, 0);
  }

  /**
   * Reads {@code N}, {@code auto} or {@code auto:PERCENT}.
   *
   * @throws InputException if it is none of them
   */
  public static ExampleCount parse(String text, EstimationSettings.Spelling spelling) {
    try {
      if (!text.equals(AUTO) && !text.startsWith(AUTO + ":")) {
        return of(Long.parseLong(text));
      }
      double percent =
          text.equals(AUTO) ? AUTO_PERCENT : Double.parseDouble(text.substring(AUTO.length() + 1));
      if (percent > 0 && percent < 100) {
        return new ExampleCount(AUTO_MOST, percent / 100);
      }
    } catch (NumberFormatException e) {
      // The message below covers it.
    }
    throw new InputException(
        spelling.of("examples", text)
            + ": expected a number of examples, or auto with a standard error in percent between 0"
            + " and 100, such as auto:10");
  }

  /** Whether the estimate decides. */
  public boolean isAuto() {
    return error > 0;
  }

  /** As it is parsed. */
  public String text() {
    return isAuto()
        ? String.format(Locale.ROOT, "%s:%.6g", AUTO, 100 * error).replaceAll("\\.?0+$", "")
        : Long.toString(most);
  }
}
