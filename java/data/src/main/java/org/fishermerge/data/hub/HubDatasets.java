package org.fishermerge.data.hub;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.data.files.DataSource;
import org.fishermerge.data.files.DatasetSplit;
import org.fishermerge.data.files.RepositoryFiles;
import org.fishermerge.data.files.SplitChoice;

/** Finds splits of data sets on the hub. */
public final class HubDatasets {
  /** Where the hub puts Parquet versions of data sets that are not. */
  private static final String CONVERTED = "refs/convert/parquet";

  private HubDatasets() {}

  private record Found(Repository pinned, SplitChoice choice) {}

  /**
   * Finds the splits' files, or what the hub's own Parquet version of the data set has for them.
   * What is wrong is thrown here; the files are downloaded when they are asked for, and nothing
   * else is but the data set's card.
   *
   * @param repository of the data set
   * @throws InputException if there is no such data set, configuration or split; the message lists
   *     those there are
   */
  public static Supplier<DataSource> find(Hub hub, Repository repository, DatasetSplit split) {
    Found itself = choose(hub, repository, split);
    if (itself.choice.isParquet()) {
      return download(hub, itself, split);
    }
    Found converted;
    try {
      converted = choose(hub, repository.at(CONVERTED), split);
    } catch (HubUnreachableException e) {
      throw e;
    } catch (InputException e) {
      if (!itself.choice.parts().isEmpty()) {
        return download(hub, itself, split);
      }
      throw new InputException(
          "%s holds no Parquet files of %s: %s; and the hub's Parquet version cannot be had: %s"
              .formatted(repository, wanted(split), itself.choice.unread(), e.getMessage()),
          e);
    }
    if (!converted.choice.isParquet() && !itself.choice.parts().isEmpty()) {
      return download(hub, itself, split);
    }
    if (!converted.choice.isParquet()) {
      throw new InputException(
          "%s holds no Parquet files of %s: %s; nor has the hub made any"
              .formatted(repository, wanted(split), itself.choice.unread()));
    }
    return download(hub, converted, split);
  }

  private static String wanted(DatasetSplit split) {
    return split.split() == null ? "any split" : "split " + split.split();
  }

  private static Found choose(Hub hub, Repository repository, DatasetSplit split) {
    List<SplitChoice> chosen = new ArrayList<>();
    Snapshot snapshot =
        hub.fetch(
            repository,
            files -> {
              chosen.add(choose(repository, files, split));
              return List.of();
            });
    return new Found(repository.at(snapshot.commit()), chosen.getLast());
  }

  private static SplitChoice choose(
      Repository repository, RepositoryFiles files, DatasetSplit split) {
    return repository.revision().equals(CONVERTED)
        ? split.chooseConverted(files)
        : split.choose(files);
  }

  private static Supplier<DataSource> download(Hub hub, Found found, DatasetSplit split) {
    String set =
        found.pinned.id() + (split.configuration() == null ? "" : "/" + split.configuration());
    return () ->
        found.choice.at(hub.fetch(found.pinned, files -> found.choice.names()).files(), set);
  }
}
