package org.fishermerge.data;

import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * One example of a data set cannot be used, where others can: its picture cannot be decoded, a cell
 * is null. Faults that are not one row's, such as a damaged file, are plain {@link
 * InputException}s.
 */
public final class BadRowException extends InputException {
  private final long row;
  private final String where;
  private final String reason;

  /**
   * @param row its place in the data set
   * @param where how messages name it: {@link Examples#where}
   * @param reason what is wrong with it
   */
  public BadRowException(long row, String where, String reason) {
    this(row, where, reason, null);
  }

  public BadRowException(long row, String where, String reason, @Nullable Throwable cause) {
    super(where + ": " + reason, cause);
    this.row = row;
    this.where = where;
    this.reason = reason;
  }

  /** Its place in the data set. */
  public long row() {
    return row;
  }

  /** How messages name it. */
  public String where() {
    return where;
  }

  /** What is wrong with it. */
  public String reason() {
    return reason;
  }
}
