package org.fishermerge.kernels;

class ScalarKernelsTest extends KernelContract {
  @Override
  KernelOptions options() {
    return options("scalar", "auto");
  }

  @Override
  boolean packsOperands() {
    return false;
  }
}
