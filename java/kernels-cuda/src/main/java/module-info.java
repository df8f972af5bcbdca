/**
 * The native library of the CUDA kernels, as a resource that {@code org.fishermerge.kernels} looks
 * for. No module requires this one: {@code --add-modules org.fishermerge.kernels.cuda} brings it.
 */
module org.fishermerge.kernels.cuda {}
