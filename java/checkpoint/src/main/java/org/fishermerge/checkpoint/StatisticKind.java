package org.fishermerge.checkpoint;

/** What a statistic file holds of a model, beside the model's own values. */
public enum StatisticKind {
  /** The diagonal of the Fisher information: a sum of squared gradients for each parameter. */
  DIAGONAL_FISHER("Fisher file");

  private final String fileTitle;

  StatisticKind(String fileTitle) {
    this.fileTitle = fileTitle;
  }

  /** What messages call a file of this kind. */
  public String fileTitle() {
    return fileTitle;
  }
}
