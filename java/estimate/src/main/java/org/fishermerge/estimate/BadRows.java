package org.fishermerge.estimate;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * What becomes of rows that cannot be used: a picture that cannot be decoded, a null cell, a text
 * without tokens, a missing label where one is needed. Such rows are left out, with a word on each,
 * and no others take their place. Unless told otherwise a run stops where they are more than a few,
 * and at a label that is no class of the model: then data and model do not belong together.
 *
 * @param most rows that may be left out; negative for the usual few
 * @param anyLabel whether rows with labels of other tasks are among them
 */
public record BadRows(long most, boolean anyLabel) {
  /** What is done unless something else is asked for. */
  public static final BadRows USUAL = new BadRows(-1, false);

  private static final Pattern TEXT = Pattern.compile("(stop)|skip(?::(\\d{1,18}))?");

  /** The usual few: so many of any number of rows, or one in a hundred. */
  private static final int FEW = 10;

  private static final int ONE_IN = 100;

  /** Parses {@code stop}, {@code skip} or {@code skip:N}; null is {@link #USUAL}. */
  public static BadRows parse(@Nullable String text, String option) {
    if (text == null) {
      return USUAL;
    }
    Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches()) {
      throw new InputException(option + " " + text + ": expected stop, skip or skip:N");
    }
    if (matcher.group(1) != null) {
      return new BadRows(0, false);
    }
    return new BadRows(
        matcher.group(2) == null ? Long.MAX_VALUE : Long.parseLong(matcher.group(2)), true);
  }

  /** How many of some rows may be left out. */
  long most(long rows) {
    return most >= 0 ? most : Math.max(FEW, rows / ONE_IN);
  }
}
