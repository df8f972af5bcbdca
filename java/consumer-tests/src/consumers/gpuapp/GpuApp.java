package com.example;

import org.fishermerge.kernels.Kernels;

/** Prints what there is of a GPU. */
public final class GpuApp {
  public static void main(String[] args) {
    System.out.println(Kernels.describeGpu());
  }
}
