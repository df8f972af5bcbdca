package org.fishermerge.cli;

/** Which part of a text lies at its x. */
enum TextAnchor {
  START,
  MIDDLE,
  END
}
