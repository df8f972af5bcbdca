@NullMarked
package org.fishermerge.merge;

import org.jspecify.annotations.NullMarked;
