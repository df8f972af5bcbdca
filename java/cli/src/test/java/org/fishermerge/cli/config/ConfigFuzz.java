package org.fishermerge.cli.config;

import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.List;
import java.util.stream.Stream;
import org.fishermerge.checkpoint.InputException;
import org.fishermerge.testkit.FuzzTarget;

/** Text as an override of a command line, and as a YAML file. */
public final class ConfigFuzz implements FuzzTarget {
  private static final ConfigFuzz TARGET = new ConfigFuzz();
  private static final String ORIGIN = "config/x.yaml";
  private static final LocalDateTime NOW = LocalDateTime.of(2031, 2, 3, 4, 5, 6);

  /** What Jazzer calls. */
  public static void fuzzerTestOneInput(byte[] input) {
    TARGET.run(input);
  }

  @Override
  public List<byte[]> seeds() {
    return Stream.of(
            "method=fisher_merging/clip_fisher_merging",
            "+a.b@c=[1,-2.5e3,'q, \\'r',{x:null,y:true}]",
            "~method.exclude_param_names_regex",
            "++k='${oc.env:HOME,x}'",
            "defaults:\n  - _self_\n  - /model/clip@models.a: x\n  - override /method: y\n_target_: a.b.C\n",
            "# @package _global_\na: &x {b: [1, 2.0, ~, 'z']}\nc: *x\nd: |\n  text\n",
            "a: ${b}\nb: ${c.d}\ne: x${oc.env:Y,${b}}${.a}\nc:\n  d: 1e3\n  e: 0x1f\n  f: [yes, no, null]\n",
            "a: [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]\n")
        .map(text -> text.getBytes(StandardCharsets.UTF_8))
        .toList();
  }

  @Override
  public void run(byte[] input) {
    String text = new String(input, StandardCharsets.UTF_8);
    try {
      OverrideParser.parse(text);
    } catch (InputException e) {
      requireMessage(e);
    }
    try {
      new Interpolation(ConfigFile.parse(text, ORIGIN).content(), "fuzz", NOW, name -> null)
          .resolve();
    } catch (InputException e) {
      requireMessage(e);
    }
    try {
      ConfigFile.parse(text, ORIGIN);
    } catch (InputException e) {
      if (!String.valueOf(e.getMessage()).contains(ORIGIN)) {
        throw new AssertionError("does not name the file: " + e.getMessage(), e);
      }
    }
  }

  private static void requireMessage(InputException e) {
    if (e.getMessage() == null || e.getMessage().isBlank()) {
      throw new AssertionError("no message", e);
    }
  }
}
