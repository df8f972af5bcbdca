package org.fishermerge.cli.tune;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.AtomicOutput;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;
import org.fishermerge.cli.task.Folders;
import org.fishermerge.estimate.ContentKey;
import org.fishermerge.estimate.tune.BlendTuning;
import org.jspecify.annotations.Nullable;

/**
 * What a search has finished, in a folder of its own, so that the same search, started again after
 * it was stopped or killed, goes on from there to the same bits: the merges that were tried, and in
 * {@code progress.txt} their hashes, what was measured, and the state of a blend. That file names
 * all that the search depends on and has a checksum; progress of another search, or damaged, is not
 * used. The folder is locked while a search works, and gone when it has ended. Not thread-safe.
 */
public final class SearchProgress implements AutoCloseable {
  private static final String FILE = "progress.txt";
  private static final String LOCK = "lock";
  private static final JsonMapper MAPPER = new JsonMapper();

  /** The state of a blend; {@code of} names all that it depends on besides the search. */
  private record Blend(String of, BlendTuning.State state) {}

  /**
   * What the file holds.
   *
   * @param measured by what was measured
   * @param merges SHA-256 of the tensors of finished merges, by the names of their folders
   */
  private record Saved(
      Map<String, List<Double>> measured, Map<String, String> merges, @Nullable Blend blend) {}

  private final Function<String, Path> place;
  private final PrintWriter err;
  private final Consumer<String> warnings;
  private final Map<String, List<Double>> measured = new LinkedHashMap<>();
  private final Map<String, String> merges = new LinkedHashMap<>();
  private @Nullable Blend blend;
  private String search = "";
  private @Nullable Path folder;
  private @Nullable FileChannel lock;
  private boolean failed;

  /**
   * Touches nothing before {@link #begin}.
   *
   * @param place the folder, given what names the search
   * @param err told where a search goes on
   * @param warnings told why progress cannot be used or saved
   */
  public SearchProgress(Function<String, Path> place, PrintWriter err, Consumer<String> warnings) {
    this.place = place;
    this.err = err;
    this.warnings = warnings;
  }

  /**
   * Takes up what a search like this one left.
   *
   * @param key names all that the search depends on
   * @throws InputException if another process works with the folder, or it cannot be created
   */
  public void begin(String key) {
    search = key;
    Path opened = place.apply(key);
    folder = opened;
    try {
      Files.createDirectories(opened);
      acquire(opened);
    } catch (IOException e) {
      throw new InputException(opened + ": cannot be written: " + Reasons.of(e), e);
    }
    Path file = opened.resolve(FILE);
    if (!Files.exists(file)) {
      return;
    }
    try {
      List<String> lines = Files.readAllLines(file);
      if (lines.size() != 2 || !lines.getFirst().endsWith(checksum(lines.getLast()))) {
        startAnew(opened + " is damaged");
      } else if (!lines.getFirst().equals(heading(lines.getLast()))) {
        startAnew(opened + " is the progress of another search");
      } else {
        Saved saved = MAPPER.readValue(lines.getLast(), Saved.class);
        measured.putAll(saved.measured);
        merges.putAll(saved.merges);
        blend = saved.blend;
        err.printf(
            "going on after %d measurements and %d merges: %s%n",
            measured.size(), merges.size(), opened);
        err.flush();
      }
    } catch (IOException e) {
      startAnew(opened + " is damaged");
    }
  }

  private void acquire(Path opened) throws IOException {
    FileChannel channel =
        FileChannel.open(opened.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    lock = channel;
    FileLock held;
    try {
      held = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      held = null;
    } catch (IOException e) {
      return; // a file system without locks
    }
    if (held == null) {
      folder = null; // the other one's
      throw new InputException(
          opened + ": another search is at work there; wait for it, or give another output");
    }
  }

  private void startAnew(String reason) {
    warnings.accept(reason + "; starting from the first try");
    Path opened = folder();
    try (var files = Files.list(opened)) {
      files.filter(file -> !file.endsWith(LOCK)).forEach(Folders::delete);
    } catch (IOException e) {
      throw new InputException(opened + ": cannot be read: " + Reasons.of(e), e);
    }
  }

  private Path folder() {
    if (folder == null) {
      throw new IllegalStateException("not begun");
    }
    return folder;
  }

  /** Where merges are written. */
  Path place() {
    return folder();
  }

  /** How many merges are there already. */
  int merges() {
    return merges.size();
  }

  /** A measurement, from the search before this one or by doing it. */
  public List<Double> measured(String what, Supplier<List<Double>> measure) {
    List<Double> known = measured.get(what);
    if (known != null) {
      return known;
    }
    List<Double> found = measure.get();
    measured.put(what, found);
    save();
    return found;
  }

  /**
   * The folder of a merge, from the search before this one or by merging.
   *
   * @param name of the folder; says how it is merged
   * @param merge writes the folder that it is given
   */
  Path merged(String name, Consumer<Path> merge) {
    Path merged = folder().resolve(name);
    String known = merges.get(name);
    if (known != null) {
      if (known.equals(hash(merged))) {
        return merged;
      }
      warnings.accept(merged + " is damaged; merging it again");
    }
    Folders.delete(merged);
    merge.accept(merged);
    merges.put(name, hash(merged));
    save();
    return merged;
  }

  private static String hash(Path model) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      return checkpoint.tensorSha256();
    } catch (InputException e) {
      return "";
    }
  }

  /**
   * The memory of a blend.
   *
   * @param of names all that it depends on besides the search
   */
  BlendTuning.Memory blend(String of) {
    return new BlendTuning.Memory() {
      @Override
      public Optional<BlendTuning.State> read() {
        return Optional.ofNullable(blend).filter(known -> known.of.equals(of)).map(Blend::state);
      }

      @Override
      public void save(BlendTuning.State state) {
        blend = new Blend(of, state);
        SearchProgress.this.save();
      }
    };
  }

  /** Saving that fails does not stop the search. */
  private void save() {
    if (failed) {
      return;
    }
    try (AtomicOutput output = AtomicOutput.file(folder().resolve(FILE), true)) {
      String text = MAPPER.writeValueAsString(new Saved(measured, merges, blend));
      output.write(heading(text) + "\n" + text + "\n");
      output.commit();
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("numbers and texts", e);
    } catch (InputException e) {
      failed = true;
      warnings.accept("the progress cannot be saved, the search goes on: " + e.getMessage());
    }
  }

  private String heading(String text) {
    return search + " " + checksum(text);
  }

  private static String checksum(String text) {
    return new ContentKey(text).hex();
  }

  /** Removes the folder: the output is in its place. */
  public void remove() {
    try {
      Folders.delete(folder());
    } catch (InputException e) {
      warnings.accept(e.getMessage() + "; it is of no use any more");
    }
  }

  /** Lets other searches work there. Without anything finished, nothing is left. */
  @Override
  public void close() {
    try {
      if (folder != null && measured.isEmpty() && merges.isEmpty()) {
        Folders.delete(folder);
      }
      if (lock != null) {
        lock.close();
      }
    } catch (IOException | InputException e) {
      warnings.accept(folder + ": " + e.getMessage());
    }
  }
}
