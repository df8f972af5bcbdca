@NullMarked
package org.fishermerge.testkit;

import org.jspecify.annotations.NullMarked;
