package org.fishermerge.data.hub;

/** Hears what a {@link Hub} does. Calls come from several threads, but one at a time. */
@FunctionalInterface
public interface HubProgress {
  /** Hears nothing. */
  HubProgress NONE = (file, bytes, total) -> {};

  /**
   * More of a file has arrived.
   *
   * @param file its name in the repository
   * @param bytes how much of it is here; less than before if the download had to start again
   * @param total its size in bytes, or -1 if the hub does not say
   */
  void downloaded(String file, long bytes, long total);

  /** Something worth a line: a retry, a damaged file that is fetched again, the hub unreachable. */
  default void note(String message) {}
}
