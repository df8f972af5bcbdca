package org.fishermerge.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.fishermerge.checkpoint.InputException;
import org.jspecify.annotations.Nullable;

/**
 * A token that is found in a text before the vocabulary's own, as the tokenizers library has it.
 *
 * @param singleWord only where no letter or digit touches it
 * @param lstrip takes the white space before it along
 * @param rstrip takes the white space after it along
 * @param normalized looked for in the normalized text; null: unless it is special
 * @param special one that {@code split_special_tokens} lets be split
 */
record AddedToken(
    String content,
    boolean singleWord,
    boolean lstrip,
    boolean rstrip,
    @Nullable Boolean normalized,
    boolean special) {
  /** A special token that has no settings of its own. */
  static AddedToken special(String content) {
    return new AddedToken(content, false, false, false, null, true);
  }

  /** A token of added_tokens.json, which holds no settings. */
  static AddedToken plain(String content, boolean special) {
    return new AddedToken(content, false, false, false, !special, special);
  }

  /**
   * A token written as an object.
   *
   * @param where how messages name it
   */
  static AddedToken of(JsonNode node, String where) {
    JsonNode content = node.get("content");
    if (content == null || !content.isTextual()) {
      throw new InputException(where + ": expected a token, as text or as an object with content");
    }
    return new AddedToken(
        content.textValue(),
        flag(node, "single_word", where),
        flag(node, "lstrip", where),
        flag(node, "rstrip", where),
        node.hasNonNull("normalized") ? flag(node, "normalized", where) : null,
        flag(node, "special", where));
  }

  private static boolean flag(JsonNode node, String name, String where) {
    JsonNode value = node.path(name);
    if (!value.isBoolean() && !value.isMissingNode() && !value.isNull()) {
      throw new InputException(where + ": " + name + " is " + value + "; expected true or false");
    }
    return value.asBoolean();
  }

  /** A token written as text, which makes it special, or as an object. */
  static AddedToken ofTextOrObject(JsonNode node, String where) {
    return node.isTextual() ? special(node.textValue()) : of(node, where);
  }

  AddedToken asSpecial() {
    return new AddedToken(content, singleWord, lstrip, rstrip, normalized, true);
  }

  /** Whether both are found alike. */
  boolean sameAs(AddedToken other) {
    return content.equals(other.content)
        && singleWord == other.singleWord
        && lstrip == other.lstrip
        && rstrip == other.rstrip
        && special == other.special
        && looksAtNormalizedText() == other.looksAtNormalizedText();
  }

  boolean looksAtNormalizedText() {
    return normalized == null ? !special : normalized;
  }

  /** As tokenizer.json has it. */
  ObjectNode json(long id) {
    return Json.MAPPER
        .createObjectNode()
        .put("id", id)
        .put("content", content)
        .put("single_word", singleWord)
        .put("lstrip", lstrip)
        .put("rstrip", rstrip)
        .put("normalized", looksAtNormalizedText())
        .put("special", special);
  }
}
