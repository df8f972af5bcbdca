@NullMarked
package org.fishermerge.cli;

import org.jspecify.annotations.NullMarked;
