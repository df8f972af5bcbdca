package org.fishermerge.torch.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Against libtorch's own operators in double. */
final class ReproducibleTest {
  @BeforeEach
  void seed() {
    LibTorch.initialize();
    torch.manual_seed(11);
  }

  private static void assertSame(String what, Tensor ours, Tensor theirs) {
    assertThat(ours.shape()).as(what).isEqualTo(theirs.shape());
    double difference = ours.to(ScalarType.Double).sub(theirs).abs().max().item_double();
    double largest = theirs.abs().max().item_double();
    assertThat(difference).as(what).isLessThan(1e-5 * largest);
  }

  private static Tensor wide(Tensor a) {
    return a.to(ScalarType.Double);
  }

  private static void assertProduct(String what, Tensor a, Tensor b) {
    assertSame(what, Reproducible.matmul(a, b), wide(a).matmul(wide(b)));
  }

  @Test
  void products() {
    try (PointerScope scope = new PointerScope()) {
      Tensor a = torch.randn(1031, 67);
      Tensor b = torch.randn(67, 1601);
      assertProduct("plain", a, b);
      assertProduct("transposed", b.t(), a.t());
      assertProduct("parts", a.narrow(0, 3, 519).narrow(1, 2, 31), b.narrow(0, 5, 31));
      assertProduct(
          "strides that BLAS does not have",
          a.view(1031, 67).as_strided(new long[] {515, 33}, new long[] {134, 2}),
          b.narrow(0, 0, 33));
      assertProduct("a row", a.narrow(0, 7, 1), b);
      assertProduct("a column", a, b.narrow(1, 9, 1));
      assertProduct("a column in rows", a.narrow(1, 3, 1), b.narrow(0, 0, 1));
      Tensor heads = torch.randn(2, 5, 3, 7).transpose(1, 2); // [2, 3, 5, 7]
      assertProduct("batch", heads, heads.transpose(-2, -1));
      assertProduct("fewer dimensions", heads.transpose(-2, -1), torch.randn(4, 2, 3, 5, 6));
      assertProduct("matrices by one", torch.randn(4, 2, 9, 67), b);
      assertThat(Reproducible.matmul(torch.randn(0, 5, 3), torch.randn(0, 3, 2)).shape())
          .containsExactly(0, 5, 2);
    }
  }

  @Test
  void sums() {
    try (PointerScope scope = new PointerScope()) {
      Tensor a = torch.randn(333, 519);
      Tensor b = torch.randn(519, 77);
      Tensor bias = torch.randn(77);
      Tensor product = wide(a).matmul(wide(b));
      assertSame(
          "addmm",
          Reproducible.addmm(bias, a, b, 1.7),
          product.add(wide(bias)).mul(new Scalar(1.7)));
      Tensor sum = torch.randn(333, 100);
      Tensor part = sum.narrow(1, 11, 77);
      Tensor before = wide(part).clone();
      Reproducible.addProduct(part, a, b);
      assertSame("part of a matrix", part, before.add(product));
      for (long n : new long[] {1, 190, 519}) {
        Tensor x = a.narrow(1, 0, n);
        Tensor square = torch.ones(n, n);
        Reproducible.addLowerProduct(square, 0.5, x.t(), x, 384);
        Tensor full = wide(x).t().matmul(wide(x)).mul(new Scalar(0.5)).add(new Scalar(1.0));
        assertSame("lower, " + n, square.tril(), full.tril());
      }
      Tensor long1 = torch.randn(600_001);
      Tensor long2 = torch.rand(600_001);
      assertThat(Reproducible.dot(long1, long2))
          .isCloseTo(wide(long1).dot(wide(long2)).item_double(), within(0.1));
    }
  }

  @Test
  void elements() {
    try (PointerScope scope = new PointerScope()) {
      for (long n : new long[] {1, 32_768, 100_003, 262_144}) {
        Tensor x = torch.randn(n);
        Tensor y = torch.randn(n);
        assertSame("silu", Reproducible.each(x, torch::silu_out), torch.silu(wide(x)));
        assertSame(
            "silu_backward",
            Reproducible.each(x, y, torch::silu_backward_out),
            torch.silu_backward(wide(x), wide(y)));
      }
      Tensor probes = torch.randn(3, 17, 2111);
      Tensor u = torch.randn(17, 2111);
      assertSame(
          "broadcast",
          Reproducible.each(probes, u, torch::silu_backward_out),
          torch.silu_backward(wide(probes), wide(u).expand_as(probes)));
    }
  }
}
