package org.fishermerge.checkpoint;

import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** What a statistic file holds of a model, beside the model's own values. */
public enum StatisticKind {
  /** The diagonal of the Fisher information: a sum of squared gradients for each parameter. */
  DIAGONAL_FISHER("diagonal", "Fisher file", List.of()),

  /** Of every linear layer the sum over tokens of a a^T, a its input. */
  GRAM("gram", "file of Gram matrices", List.of(LayerFactor.GRAM)),

  /**
   * Of every linear layer the sums over examples of a a^T, a its input, and of E_y g g^T, g the
   * gradient of its output, each summed over the tokens that count: the Kronecker factors of the
   * Fisher information (Martens and Grosse 2015).
   */
  KRONECKER(
      "kronecker", "file of Kronecker factors", List.of(LayerFactor.INPUTS, LayerFactor.GRADIENTS));

  private final String label;
  private final String fileTitle;
  private final List<LayerFactor> factors;

  StatisticKind(String label, String fileTitle, List<LayerFactor> factors) {
    this.label = label;
    this.fileTitle = fileTitle;
    this.factors = factors;
  }

  /** Its name in files and options. */
  public String label() {
    return label;
  }

  /** What messages call a file of this kind. */
  public String fileTitle() {
    return fileTitle;
  }

  /**
   * The matrices that it holds of every linear layer; none if it has a value for each parameter.
   */
  public List<LayerFactor> factors() {
    return factors;
  }

  /** Whether it depends on what the model predicts, and so on how labels are averaged over. */
  public boolean dependsOnLabels() {
    return this != GRAM;
  }

  /** Whether one of several does. */
  public static boolean anyDependsOnLabels(Collection<StatisticKind> kinds) {
    return kinds.stream().anyMatch(StatisticKind::dependsOnLabels);
  }

  /** The kind of that label. */
  public static Optional<StatisticKind> of(String label) {
    return Arrays.stream(values()).filter(kind -> kind.label.equals(label)).findFirst();
  }

  /** All labels, for messages. */
  public static String labels() {
    return Arrays.stream(values()).map(StatisticKind::label).collect(Collectors.joining(", "));
  }
}
