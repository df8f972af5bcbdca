package org.fishermerge.estimate;

import java.util.Objects;

/** The product's name and version, from the jar's manifest. */
public final class Tool {
  private Tool() {}

  /** As kept in the files we write. */
  public static String nameAndVersion() {
    return "fisher-merge "
        + Objects.requireNonNullElse(Tool.class.getPackage().getImplementationVersion(), "dev");
  }
}
