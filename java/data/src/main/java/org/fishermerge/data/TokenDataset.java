package org.fishermerge.data;

import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;

/** A data set of texts as token ids, with or without labels. */
public interface TokenDataset extends Examples, AutoCloseable {
  /**
   * The token ids of some examples, without what an attention mask leaves out. Ids and lengths are
   * not held against any model. An empty text has none.
   *
   * @param rows which examples, by their place in the data set
   * @param bad told of each that cannot be used, in order; there are no ids of it
   * @throws org.fishermerge.checkpoint.InputException if they cannot be read
   */
  List<long[]> texts(long[] rows, Consumer<BadRowException> bad);

  /** The same where one bad row is too many. */
  default List<long[]> texts(long[] rows) {
    return texts(
        rows,
        row -> {
          throw row;
        });
  }

  /**
   * Whether the ids of a text are all that belongs to it, and nothing else, so that one at its end
   * that is also used for padding is a part of it: with an attention mask, or where texts are
   * tokenized here.
   */
  boolean complete();

  /**
   * The types of the tokens of some examples, at least as many as they have ids; empty where all
   * are of type 0.
   */
  default Optional<List<long[]>> types(long[] rows) {
    return Optional.empty();
  }

  /** What the reference implementation fills texts up with, if these were tokenized here. */
  default OptionalLong padToken() {
    return OptionalLong.empty();
  }

  /** Sentences for the user about what is odd about the files but does not stop their use. */
  default List<String> warnings() {
    return List.of();
  }

  /** Closes the files. */
  @Override
  void close();
}
