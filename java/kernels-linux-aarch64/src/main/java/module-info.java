/**
 * The kernels' native library for Linux on AArch64, as a resource that {@code
 * org.fishermerge.kernels} looks for. No module requires this one: {@code --add-modules
 * org.fishermerge.kernels.linux.aarch64} brings it.
 */
@SuppressWarnings("module") // the digits are the name of the processor
module org.fishermerge.kernels.linux.aarch64 {}
