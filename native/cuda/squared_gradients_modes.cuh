// How a block multiplies one step of a panel of g with one of a, at each precision: 128 x 128 sums over kDepth tokens.
//
// A step of a panel is kDepth tokens of 128 rows of G (or columns), 4 KB, the same bytes in global as in shared memory,
// so that a copy is one 16-byte piece per thread, and steps in a row are one block of memory. first_token(piece) and
// first_row(piece) say where a piece's elements come from: fp32_mode's lie along the rows, for CUDA cores; those of
// tensor cores along the tokens (K-major), 8 pieces in a row being the 8 x 16 bytes that both ldmatrix and wgmma read at
// once from all banks.
//
// A thread holds 64 of a tile's sums; row_of(thread, k) and column_of(thread, k) say where the k-th of them lies.
#pragma once

#include "numbers.cuh"

namespace fmc {

constexpr int kTile = 128;
constexpr int kSums = 64;  // of each of 256 threads
constexpr int kStepBytes = 4096;
constexpr int kPieces = kStepBytes / 16;  // of a step: one per thread

// CUDA cores: a thread has 8 rows x 8 columns, as 2 x 2 squares of 4 x 4 that are 64 apart, so that neighbours read
// neighbouring pieces.
struct fp32_mode {
  using element = float;
  static constexpr int kDepth = 8;

  FMC_BOTH static int first_token(int piece) { return piece / (kTile / 4); }
  FMC_BOTH static int first_row(int piece) { return piece % (kTile / 4) * 4; }
  static constexpr bool kAlongTokens = false;
  FMC_DEVICE static uint32_t round(float x) { return float_bits(x); }
  FMC_BOTH static int row_of(int thread, int k) { return k / 32 * 64 + thread / 16 * 4 + k / 8 % 4; }
  FMC_BOTH static int column_of(int thread, int k) { return k % 8 / 4 * 64 + thread % 16 * 4 + k % 4; }

  template <class Block>
  FMC_DEVICE static void multiply_step(Block &block, const char *g, const char *a, float (&sum)[kSums]) {
    const int down = block.thread() / 16;
    const int across = block.thread() % 16;
    FMC_UNROLL
    for (int t = 0; t < kDepth; ++t) {
      const words *g_row = reinterpret_cast<const words *>(g) + t * (kTile / 4);
      const words *a_row = reinterpret_cast<const words *>(a) + t * (kTile / 4);
      const words gs[2] = {g_row[down], g_row[16 + down]};
      const words as[2] = {a_row[across], a_row[16 + across]};
      FMC_UNROLL
      for (int k = 0; k < kSums; ++k) {
        sum[k] = fmaf(float_from_bits(gs[k / 32].word[k / 8 % 4]), float_from_bits(as[k % 8 / 4].word[k % 4]), sum[k]);
      }
    }
  }
};

// Tensor cores: 8 warps, 2 down and 4 across, each with 64 x 32 sums in 4 x 4 fragments of 16 x 8. A derived mode says
// how elements are rounded and which instruction multiplies.
template <class Mode>
struct tensor_mode {
  static constexpr bool kAlongTokens = true;
  // A step has two halves of 128 pieces; a piece is half the tokens of one row.
  FMC_BOTH static int first_token(int piece) { return piece / kTile * (Mode::kDepth / 2); }
  FMC_BOTH static int first_row(int piece) { return piece % kTile; }

  FMC_BOTH static int warp_row(int thread) { return thread / 32 / 4 * 64; }
  FMC_BOTH static int warp_column(int thread) { return thread / 32 % 4 * 32; }
  // The fragment of sums of mma.m16n8: 4 per lane.
  FMC_BOTH static int row_of(int thread, int k) {
    return warp_row(thread) + k / 16 * 16 + k % 4 / 2 * 8 + thread % 32 / 4;
  }
  FMC_BOTH static int column_of(int thread, int k) {
    return warp_column(thread) + k / 4 % 4 * 8 + thread % 4 * 2 + k % 2;
  }

  // Bytes from the start of the step to the piece this lane names for the 16 rows from `row` on: lanes 0-7 and 8-15 the
  // first half of the lower and the upper 8 rows, 16-31 the second half.
  FMC_BOTH static int offset(int lane, int row) { return (lane / 16 * kTile + row + lane % 16) * 16; }

  template <class Block>
  FMC_DEVICE static void multiply_step(Block &block, const char *g, const char *a, float (&sum)[kSums]) {
    const int lane = block.thread() % 32;
    uint32_t right[4][2];
    FMC_UNROLL
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t both[4];
      block.load_matrices(both, a + offset(lane, warp_column(block.thread()) + pair * 16));
      right[2 * pair][0] = both[0];
      right[2 * pair][1] = both[2];
      right[2 * pair + 1][0] = both[1];
      right[2 * pair + 1][1] = both[3];
    }
    FMC_UNROLL
    for (int m = 0; m < 4; ++m) {
      uint32_t left[4];
      block.load_matrices(left, g + offset(lane, warp_row(block.thread()) + m * 16));
      FMC_UNROLL
      for (int n = 0; n < 4; ++n) Mode::multiply(block, &sum[(m * 4 + n) * 4], left, right[n]);
    }
  }
};

struct tf32_mode : tensor_mode<tf32_mode> {
  using element = uint32_t;
  static constexpr int kDepth = 8;

  FMC_DEVICE static uint32_t round(float x) { return tf32_bits(x); }
  template <class Block>
  FMC_DEVICE static void multiply(Block &block, float *sum, const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    block.multiply_tf32(sum, left, right);
  }
};

struct bf16_mode : tensor_mode<bf16_mode> {
  using element = uint16_t;
  static constexpr int kDepth = 16;

  FMC_DEVICE static uint32_t round(float x) { return bf16_pair(x, 0.0f); }
  template <class Block>
  FMC_DEVICE static void multiply(Block &block, float *sum, const uint32_t (&left)[4], const uint32_t (&right)[2]) {
    block.multiply_bf16(sum, left, right);
  }
};

}  // namespace fmc
