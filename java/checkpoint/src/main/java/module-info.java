/** Model folders, safetensors and Fisher files. */
module org.fishermerge.checkpoint {
  requires com.fasterxml.jackson.core;
  requires static org.jspecify;

  exports org.fishermerge.checkpoint;
}
