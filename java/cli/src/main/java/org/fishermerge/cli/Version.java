package org.fishermerge.cli;

import org.fishermerge.estimate.Tool;
import picocli.CommandLine.IVersionProvider;

/** What {@code --version} prints. */
final class Version implements IVersionProvider {
  @Override
  public String[] getVersion() {
    return new String[] {Tool.nameAndVersion()};
  }
}
