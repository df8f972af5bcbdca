/**
 * What a configuration describes: a pool of models, a method that makes one of them, and a pool of
 * tasks that the result is measured on. Concepts and reports are FusionBench's.
 */
@NullMarked
package org.fishermerge.cli.program;

import org.jspecify.annotations.NullMarked;
