package org.fishermerge.estimate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.function.LongConsumer;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.fishermerge.checkpoint.Checkpoint;
import org.fishermerge.data.BadRowException;
import org.fishermerge.data.LabelMap.Matching;
import org.fishermerge.data.MatchedExamples;
import org.fishermerge.data.TokenDataset;
import org.fishermerge.torch.BatchMemory;
import org.fishermerge.torch.FisherEstimator;
import org.fishermerge.torch.ForwardPass;
import org.fishermerge.torch.arch.Architecture;
import org.fishermerge.torch.arch.TextClassifier;
import org.fishermerge.torch.nn.Network;
import org.fishermerge.torch.nn.TokenBatch;
import org.fishermerge.torch.objective.Objective;

/**
 * A text classifier and the texts that it is run on. Texts run without their padding and together
 * with others of about their length, so that each costs what its own tokens cost.
 *
 * @param model the folder that the classifier's backbone was loaded from
 * @param examples of the data set, with the classifier's classes as labels
 */
public record TextClassifierOnData(
    Checkpoint model, TextClassifier classifier, TokenDataset dataset, MatchedExamples examples)
    implements ClassifierOnData {
  // Texts classified together, in columns; more run no faster.
  private static final int COLUMNS = 4096;

  /**
   * Opens texts and a classifier, works with them, and closes them.
   *
   * @param architecture of both models
   * @param head the classification model whose head classifies; may be the model itself
   * @param withHead whether the head's parameters are studied too
   * @param data opens the texts, cut to a number of tokens that the model takes
   * @param matching how the classes of data and classifier are matched
   * @param warnings told what is odd about the files but does not stop their use
   */
  public static void with(
      Architecture<TextClassifier> architecture,
      Checkpoint model,
      Checkpoint head,
      boolean withHead,
      IntFunction<TokenDataset> data,
      Matching matching,
      Consumer<String> warnings,
      Consumer<TextClassifierOnData> work) {
    model.warnings().forEach(warnings);
    try (TextClassifier classifier = architecture.load(model, head);
        TokenDataset dataset = data.apply(classifier.positions())) {
      classifier.warnings().forEach(warnings);
      dataset.warnings().forEach(warnings);
      OptionalLong pad = dataset.padToken();
      if (pad.isPresent()
          && classifier.padToken().isPresent()
          && !pad.equals(classifier.padToken())) {
        warnings.accept(
            "%s: pad_token_id is %d, the tokenizer pads with %d: here a text ends at its own last"
                    .formatted(head.path(), classifier.padToken().getAsLong(), pad.getAsLong())
                + " token, where transformers would take its padding for a part of it");
      }
      MatchedExamples examples =
          new MatchedExamples(
              dataset,
              classifier.classCount(),
              ClassNames.of(head, classifier.classCount(), warnings),
              head.path().toString(),
              matching,
              warnings);
      work.accept(
          new TextClassifierOnData(
              model, withHead ? classifier.withHead() : classifier, dataset, examples));
    }
  }

  @Override
  public Network<TokenBatch> backbone() {
    return classifier.backbone();
  }

  @Override
  public TextClassifierOnData onBackboneOf(ClassifierOnData other) {
    if (!(other instanceof TextClassifierOnData texts)) {
      throw ClassifierOnData.otherKind(this, other);
    }
    return new TextClassifierOnData(
        texts.model, classifier.onBackboneOf(texts.classifier), dataset, examples);
  }

  /**
   * The tokens that count of some rows.
   *
   * @param bad told of rows that have none
   */
  private List<long[]> texts(long[] rows, Consumer<BadRowException> bad) {
    Set<Long> refused = new HashSet<>();
    List<long[]> texts =
        dataset.texts(
            rows,
            row -> {
              refused.add(row.row());
              bad.accept(row);
            });
    List<long[]> real = new ArrayList<>();
    for (int i = 0; i < rows.length; i++) {
      long[] tokens =
          classifier.realTokens(texts.get(i), dataset.complete(), dataset.where(rows[i]));
      if (tokens.length == 0 && !refused.contains(rows[i])) {
        bad.accept(
            new BadRowException(
                rows[i], dataset.where(rows[i]), "no token but padding: the text is empty"));
      }
      real.add(tokens);
    }
    return real;
  }

  private List<long[]> texts(long[] rows) {
    return texts(
        rows,
        row -> {
          throw row;
        });
  }

  @Override
  public long[] readable(long[] rows, SkippedRows skipped) {
    List<long[]> texts = texts(rows, skipped);
    return IntStream.range(0, rows.length)
        .filter(i -> texts.get(i).length > 0)
        .mapToLong(i -> rows[i])
        .toArray();
  }

  /** The longest texts first; batch squares are of the batches that the selection has. */
  @Override
  public long[] inRunOrder(long[] rows, Objective rule) {
    return rule.squaresBatches() ? rows : longestFirst(rows);
  }

  private long[] longestFirst(long[] rows) {
    return Arrays.stream(byLength(texts(rows))).mapToLong(i -> rows[i]).toArray();
  }

  /** Places of the texts, the longest first, in order where they are as long. */
  private static int[] byLength(List<long[]> texts) {
    return IntStream.range(0, texts.size())
        .boxed()
        .sorted(Comparator.comparingInt((Integer i) -> -texts.get(i).length))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /** For batches of the longest texts. */
  @Override
  public Optional<MemoryPlan> memoryPlan(
      long[] rows, Supplier<FisherEstimator> estimators, int atOnce, int tried) {
    long[] longest = longestFirst(rows);
    try (FisherEstimator estimator = estimators.get()) {
      Optional<BatchMemory> batch =
          estimator.measure(
              count -> wanted -> forward(Arrays.copyOf(longest, count), wanted),
              Math.min(tried, rows.length));
      return batch.flatMap(measured -> MemoryPlan.of(estimator, measured, atOnce, 0, 0));
    }
  }

  @Override
  public void forEachBatch(long[] rows, int batchSize, Objective rule, BatchWork work) {
    long[] labels = labels(rows, rule);
    List<long[]> texts = texts(rows);
    int first = 0;
    for (int size : sizes(texts, batchSize, rule)) {
      int end = first + size;
      long[] some = Arrays.copyOfRange(rows, first, end);
      TokenBatch batch = batch(texts.subList(first, end), some);
      work.run(
          wanted -> classifier.forward(batch, wanted),
          labels == null ? null : Arrays.copyOfRange(labels, first, end));
      first = end;
    }
  }

  private static List<Integer> sizes(List<long[]> texts, int batchSize, Objective rule) {
    if (!rule.squaresBatches()) {
      return TokenBatch.cut(texts.stream().mapToInt(text -> text.length).toArray(), batchSize);
    }
    List<Integer> sizes = new ArrayList<>();
    for (int first = 0; first < texts.size(); first += batchSize) {
      sizes.add(Math.min(batchSize, texts.size() - first));
    }
    return sizes;
  }

  @Override
  public ForwardPass forward(long[] rows, ForwardPass.Wanted wanted) {
    return classifier.forward(batch(texts(rows), rows), wanted);
  }

  private TokenBatch batch(List<long[]> texts, long[] rows) {
    List<long[]> types = dataset.types(rows).orElse(null);
    if (types == null) {
      return classifier.batch(texts, null);
    }
    List<long[]> ofTexts = new ArrayList<>();
    for (int i = 0; i < rows.length; i++) {
      long[] ofText = Arrays.copyOf(types.get(i), texts.get(i).length);
      classifier.requireTypes(ofText, dataset.where(rows[i]));
      ofTexts.add(ofText);
    }
    return classifier.batch(texts, ofTexts);
  }

  @Override
  public void classify(
      long[] wanted, int batchSize, LogitsWork work, SkippedRows skipped, LongConsumer progress) {
    long[] rows = readable(wanted, skipped);
    long[] labels = labels(rows);
    int classes = classifier.classCount();
    float[] logits = new float[Math.multiplyExact(rows.length, classes)];
    List<long[]> texts = texts(rows);
    int[] order = byLength(texts);
    for (int first = 0; first < order.length; ) {
      int together = Math.max(1, COLUMNS / texts.get(order[first]).length);
      int[] batch = Arrays.copyOfRange(order, first, Math.min(order.length, first + together));
      TokenBatch tokens =
          batch(
              Arrays.stream(batch).mapToObj(texts::get).toList(),
              Arrays.stream(batch).mapToLong(i -> rows[i]).toArray());
      float[] ofBatch = classifier.logits(tokens);
      for (int i = 0; i < batch.length; i++) {
        System.arraycopy(ofBatch, i * classes, logits, batch[i] * classes, classes);
      }
      first += batch.length;
      progress.accept(first);
    }
    for (int first = 0; first < rows.length; first += batchSize) {
      int end = Math.min(rows.length, first + batchSize);
      work.take(
          Arrays.copyOfRange(logits, first * classes, end * classes),
          Arrays.copyOfRange(labels, first, end));
    }
  }
}
