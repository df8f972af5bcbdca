/** Merges of models. */
module org.fishermerge.merge {
  requires transitive org.fishermerge.kernels;
  requires transitive org.fishermerge.checkpoint;
  requires static transitive org.jspecify;

  exports org.fishermerge.merge;
}
