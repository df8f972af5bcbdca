package org.fishermerge.cli;

import java.util.Objects;
import picocli.CommandLine.IVersionProvider;

/** The product's version, from the jar's manifest. */
final class Version implements IVersionProvider {
  @Override
  public String[] getVersion() {
    return new String[] {tool()};
  }

  /** Name and version as kept in the files we write. */
  static String tool() {
    return "fisher-merge "
        + Objects.requireNonNullElse(Version.class.getPackage().getImplementationVersion(), "dev");
  }
}
