/**
 * Choosing among merges without labels: by how far the merged model's predictions diverge from each
 * model's own, on that model's examples.
 */
@NullMarked
package org.fishermerge.estimate.tune;

import org.jspecify.annotations.NullMarked;
