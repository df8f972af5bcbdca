package org.fishermerge.data.hub;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** Counts failures in a row, and waits longer after each. For one thread. */
final class Retries {
  /** How to wait; tests only write down for how long. */
  @FunctionalInterface
  interface Pause {
    void sleep(Duration duration) throws InterruptedException;
  }

  /** No wait of our own is longer; if the hub asks for longer than {@link #MAX_ASKED}, give up. */
  private static final Duration MAX_BACKOFF = Duration.ofSeconds(30);

  private static final Duration MAX_ASKED = Duration.ofMinutes(5);

  private final int limit;
  private final Duration backoff;
  private final Pause pause;
  private final HubProgress progress;
  private int failures;

  Retries(int limit, Duration backoff, Pause pause, HubProgress progress) {
    this.limit = limit;
    this.backoff = backoff;
    this.pause = pause;
    this.progress = progress;
  }

  /** Something worked: earlier failures do not count any more. */
  void progressed() {
    failures = 0;
  }

  /**
   * Waits before another attempt.
   *
   * @param problem what went wrong, a whole sentence without its full stop
   * @param asked how long the hub wants us to wait; null if it does not say
   * @param advice what the user can do if this was the last attempt
   * @throws HubUnreachableException if it was
   */
  void failed(String problem, @Nullable Throwable cause, @Nullable Duration asked, String advice) {
    failures++;
    if (failures > limit) {
      String times = failures == 1 ? "" : " (tried %d times)".formatted(failures);
      throw new HubUnreachableException(problem + times + "; " + advice, cause);
    }
    if (asked != null && asked.compareTo(MAX_ASKED) > 0) {
      throw new HubUnreachableException(
          "%s, and wants a wait of %d seconds; try again then, or: %s"
              .formatted(problem, asked.toSeconds(), advice),
          cause);
    }
    Duration wait = backoff.multipliedBy(1L << Math.min(failures - 1, 20));
    if (wait.compareTo(MAX_BACKOFF) > 0) {
      wait = MAX_BACKOFF;
    }
    if (asked != null && asked.compareTo(wait) > 0) {
      wait = asked;
    }
    progress.note("%s; trying again (%d of %d)".formatted(problem, failures, limit));
    try {
      pause.sleep(wait);
    } catch (InterruptedException e) {
      throw Interrupted.exception(e);
    }
  }
}
