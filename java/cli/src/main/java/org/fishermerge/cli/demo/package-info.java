/**
 * Eight small picture tasks, models fine-tuned on them, and the program that trains those models.
 */
@NullMarked
package org.fishermerge.cli.demo;

import org.jspecify.annotations.NullMarked;
