/** Operations on tensors, in native code, on a GPU or in plain Java. */
module org.fishermerge.kernels {
  requires static transitive org.jspecify;

  exports org.fishermerge.kernels;
}
