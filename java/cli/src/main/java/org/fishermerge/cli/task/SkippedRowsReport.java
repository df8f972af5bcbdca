package org.fishermerge.cli.task;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.fishermerge.data.BadRowException;
import org.fishermerge.estimate.SkippedRows;

/** Rows that were left out, in a report. */
public final class SkippedRowsReport {
  private SkippedRowsReport() {}

  /** Adds the count and the first rows. */
  public static void add(SkippedRows rows, ObjectNode into) {
    ObjectNode skipped = into.putObject("skipped").put("count", rows.count());
    ArrayNode first = skipped.putArray("rows");
    for (BadRowException row : rows.first()) {
      first.addObject().put("row", row.row()).put("where", row.where()).put("reason", row.reason());
    }
  }
}
