// Sums over all pairs of several rows: of products, and of products of square roots.
//
// Accumulation: double; blocks of 256 elements, in each 8 partial sums, element k of the block in partial sum k mod 8,
// in order, multiplication and addition separate, then a tree over them (l with l + 4, then + 2, + 1); blocks are added
// in order. The same bits on every tier. NaN and infinity follow IEEE 754.
//
// A block of all rows is widened to double once and read from the cache by every tile of 4 x 2 pairs; its roots are
// taken in place.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kStride = FM_PAIR_SUMS_SCRATCH;  // not a power of two: those rows would share few sets of the cache
static_assert(kStride > kBlock);
constexpr int kPartials = 8;
constexpr int kVectors = kPartials / kLanesD;
static_assert(kVectors == 1 || kVectors == 2);
constexpr int kTileP = 4;  // with kTileQ 8 accumulators, 2 columns and a row: 11 registers
constexpr int kTileQ = 2;

// Absent elements up to a multiple of kPartials become +0, which adds nothing.
template <int Type>
void widen(const void *x, int64_t begin, int64_t count, double *out) {
  int64_t k = 0;
  for (; k + kLanesD <= count; k += kLanesD) store_f64(out + k, load<Type>(x, begin + k));
  if (k < count) {
    store_f64(out + k, load_first<Type>(x, begin + k, count - k));
    k += kLanesD;
  }
  for (; k % kPartials != 0; k += kLanesD) store_f64(out + k, set_d(0.0));
}

void widen(const fm_values *row, int64_t begin, int64_t count, double *out) {
  switch (row->type) {
    case FM_F32: return widen<FM_F32>(row->data, begin, count, out);
    case FM_F16: return widen<FM_F16>(row->data, begin, count, out);
    case FM_BF16: return widen<FM_BF16>(row->data, begin, count, out);
    default: return widen<FM_F64>(row->data, begin, count, out);
  }
}

// Adds a block's sums of the pairs in rows [p, p + kTileP) and [q, q + kTileQ).
void add_tile(const double *block, int64_t count, int64_t row_count, int64_t p, int64_t q, double *sums) {
  double lanes[kTileP][kTileQ][kLanesD];
  const double *x = block + p * kStride;
  const double *y = block + q * kStride;
  for (int u = 0; u < kVectors; ++u) {
    vd partial[kTileP][kTileQ];
    for (auto &row : partial) {
      for (vd &sum : row) sum = set_d(0.0);
    }
    for (int64_t k = u * kLanesD; k < count; k += kPartials) {
      vd columns[kTileQ];
#pragma GCC unroll 2
      for (int b = 0; b < kTileQ; ++b) columns[b] = load_f64(y + b * kStride + k);
#pragma GCC unroll 4
      for (int a = 0; a < kTileP; ++a) {
        vd row = load_f64(x + a * kStride + k);
#pragma GCC unroll 2
        for (int b = 0; b < kTileQ; ++b) partial[a][b] = partial[a][b] + row * columns[b];
      }
    }
    // Where a vector holds half of the partial sums, adding the halves is the first step of the tree.
    for (int a = 0; a < kTileP; ++a) {
      for (int b = 0; b < kTileQ; ++b) {
        store_f64(lanes[a][b], u == 0 ? partial[a][b] : load_f64(lanes[a][b]) + partial[a][b]);
      }
    }
  }
  for (int a = 0; a < kTileP && p + a < row_count; ++a) {
    for (int b = 0; b < kTileQ && q + b <= p + a; ++b) {
      double *sum = lanes[a][b];
#pragma GCC unroll 3
      for (int half = kLanesD / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) sum[l] += sum[l + half];
      }
      sums[(p + a) * (p + a + 1) / 2 + q + b] += sum[0];
    }
  }
}

void add_pairs(const double *block, int64_t count, int64_t row_count, double *sums) {
  for (int64_t p = 0; p < row_count; p += kTileP) {
    for (int64_t q = 0; q < p + kTileP && q < row_count; q += kTileQ) add_tile(block, count, row_count, p, q, sums);
  }
}

}  // namespace

void pair_sums(const fm_values *rows, int64_t row_count, double *scratch, double *products, double *roots,
               int64_t begin, int64_t end) {
  for (int64_t s = 0; s < row_count * (row_count + 1) / 2; ++s) {
    products[s] = 0;
    roots[s] = 0;
  }
  // Rows beyond the last, up to a whole tile, are zero.
  const int64_t padded = (row_count + kTileP - 1) / kTileP * kTileP;
  for (int64_t k = row_count * kStride; k < padded * kStride; ++k) scratch[k] = 0;
  for (int64_t from = begin; from < end; from += kBlock) {
    const int64_t count = min64(kBlock, end - from);
    for (int64_t p = 0; p < row_count; ++p) widen(rows + p, from, count, scratch + p * kStride);
    add_pairs(scratch, count, row_count, products);
    for (int64_t p = 0; p < row_count; ++p) {
      for (int64_t k = 0; k < count; k += kLanesD) {
        double *x = scratch + p * kStride + k;
        store_f64(x, sqrt_d(load_f64(x)));
      }
    }
    add_pairs(scratch, count, row_count, roots);
  }
}

}  // namespace fm::FM_TIER
