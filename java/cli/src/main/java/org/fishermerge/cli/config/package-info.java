/**
 * Configuration as Hydra composes it: groups of YAML files, defaults lists, overrides and
 * interpolations, as far as FusionBench's configurations use them.
 */
@NullMarked
package org.fishermerge.cli.config;

import org.jspecify.annotations.NullMarked;
