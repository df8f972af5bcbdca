@NullMarked
package org.fishermerge.consumers;

import org.jspecify.annotations.NullMarked;
