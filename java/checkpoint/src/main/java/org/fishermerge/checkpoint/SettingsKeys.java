package org.fishermerge.checkpoint;

import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Every key of one settings file of a model folder that this program knows, and what it does about
 * it. A reader of such a file states its keys here once; the reader's checks, its warning about
 * unknown keys and docs/compatibility.md all follow from that. Immutable and safe for any number of
 * threads.
 */
public final class SettingsKeys {
  /** What is done about a key. */
  public enum Treatment {
    /** Its value is used, or refused by name where it is of a wrong kind. */
    HONOURED,
    /** It has no bearing on any result here, whatever its value. */
    IGNORED,
    /** Any value but the one that changes nothing is refused by name. */
    REFUSED;

    /** As docs/compatibility.md writes it. */
    public String text() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private final String file;
  private final Map<String, Treatment> treatments;

  private SettingsKeys(String file, Map<String, Treatment> treatments) {
    this.file = file;
    this.treatments = Map.copyOf(treatments);
  }

  /**
   * The keys of a file.
   *
   * @param file its name, and what part of it is meant if not all of it, as a heading
   */
  public static SettingsKeys of(
      String file,
      Collection<String> honoured,
      Collection<String> ignored,
      Collection<String> refused) {
    Map<String, Treatment> treatments = new TreeMap<>();
    put(file, treatments, honoured, Treatment.HONOURED);
    put(file, treatments, ignored, Treatment.IGNORED);
    put(file, treatments, refused, Treatment.REFUSED);
    return new SettingsKeys(file, treatments);
  }

  private static void put(
      String file,
      Map<String, Treatment> treatments,
      Collection<String> keys,
      Treatment treatment) {
    for (String key : keys) {
      if (treatments.put(key, treatment) != null) {
        throw new IllegalArgumentException(file + ": the key " + key + " is stated twice");
      }
    }
  }

  /** The file's name, as given. */
  public String file() {
    return file;
  }

  /** All keys with their treatment, in order of the keys. */
  public Map<String, Treatment> treatments() {
    return new TreeMap<>(treatments);
  }

  public boolean knows(String key) {
    return treatments.containsKey(key);
  }

  /**
   * A sentence for the user about the keys that are not known here: readers of the reference
   * implementation pass over keys that they do not know, so these must not stop a run, but nothing
   * is passed over in silence.
   *
   * @param where the file, as messages name it
   * @param present the keys that it has
   */
  public Optional<String> unknown(Object where, Collection<String> present) {
    List<String> unknown = present.stream().filter(key -> !knows(key)).sorted().toList();
    return unknown.isEmpty()
        ? Optional.empty()
        : Optional.of(
            "%s: %s not known here and taken not to matter: %s"
                .formatted(
                    where,
                    unknown.size() == 1 ? "a key is" : "keys are",
                    NameList.of(unknown.stream().map(Messages::quote).toList(), 8)));
  }
}
