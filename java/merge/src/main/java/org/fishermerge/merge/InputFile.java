package org.fishermerge.merge;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.checkpoint.Reasons;

/** A file as it was when a merge was planned. */
record InputFile(Path path, long size, FileTime modified) {
  static final String SINCE_PLANNED = "since the merge was planned";
  static final String WHILE_READ = "while it was read";

  static InputFile of(Path path) {
    try {
      return new InputFile(path, Files.size(path), Files.getLastModifiedTime(path));
    } catch (IOException e) {
      throw new InputException("cannot read " + path + ": " + Reasons.of(e), e);
    }
  }

  void requireUnchanged(String since) {
    if (!of(path).equals(this)) {
      throw new InputException(
          path + " has changed " + since + "; nothing was written. Merge again.");
    }
  }
}
