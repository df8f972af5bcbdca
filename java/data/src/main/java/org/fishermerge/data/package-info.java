@NullMarked
package org.fishermerge.data;

import org.jspecify.annotations.NullMarked;
