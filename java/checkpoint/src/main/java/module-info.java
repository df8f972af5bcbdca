/** Model folders, safetensors and Fisher files. */
module org.fishermerge.checkpoint {
  requires transitive com.fasterxml.jackson.core;
  requires static transitive org.jspecify;

  exports org.fishermerge.checkpoint;
}
