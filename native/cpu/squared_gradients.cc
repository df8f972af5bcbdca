// F[o,i] += sum_{b,v} w[v,b] (sum_t g[v,b,t,o] a[b,t,i])^2 without writing a per-example gradient.
//
// Accumulation: float. Tokens > 1: acc = sum over t in order from 0, by fused multiply-add where the tier has one (the
// baseline rounds the product too); then F = fma(w * acc, acc, F), b in order, inside it v in order. One token: s =
// sum over v in order of (w * g) * g, then F = fma(s, a * a, F), b in order: V probes cost one matrix product. Either
// way an element of F sees the examples one by one, in order, so its bits depend neither on the range nor on how a
// sequence of examples is split into batches. Squares of |acc| < 1e-19 vanish below float's range; scale gradients by
// a power of two where that matters. NaN and infinity follow IEEE 754; a weight of 0 does not hide a NaN.
//
// Packing puts g into panels [kTileRows] and a into panels [kTileColumns] of consecutive tokens (one token: of
// consecutive examples), zero-padded at the edges. A block of F is worked off tile by tile, example by
// example: the first visit of a tile takes it from F, the last one puts it back, and in between it stays in scratch in
// L2. Reading and writing F in memory once per example would cost as much as the arithmetic at T = 50. An item is
// kItemRows x kBlockColumns of F; up to kItemsTogether neighbours of one range make a block: few threads get large
// blocks, many still get work.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kItemRows = (48 + kTileRows - 1) / kTileRows * kTileRows;
constexpr int64_t kBlockColumns = (256 + kTileColumns - 1) / kTileColumns * kTileColumns;
constexpr int64_t kItemsTogether = 4;
constexpr int64_t kTile = static_cast<int64_t>(kTileRows) * kTileColumns;
constexpr int64_t kAhead = 32;   // floats: rows are far apart, so the next panels' lines are asked for by hand
constexpr int64_t kDepth = 256;  // examples per visit of a tile where tokens == 1

FM_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where a tile of F is read from or written to: rows of kTileColumns floats.
struct Rows {
  float *first;
  int64_t stride;
};

// Sum over `depth` of one panel of g with one panel of a. Square: to = fma(w * sum, sum, from); otherwise `from` is the
// sum's initial value and `to` receives it. `from` and `to` may be the same.
template <bool Square>
FM_INLINE void tile(const float *g, const float *a, int64_t depth, float w, Rows from, Rows to) {
  vf acc[kTileRows][kTileVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) {
      acc[r][c] = Square ? zero_f() : load_f(at(from.first, r * from.stride + c * kLanesF));
    }
  }
#pragma GCC unroll 4
  for (int64_t t = 0; t < depth; ++t) {
    vf column[kTileVectors];
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) column[c] = load_f(a + c * kLanesF);
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
      vf x = broadcast_f(g + r);
#pragma GCC unroll 4
      for (int c = 0; c < kTileVectors; ++c) acc[r][c] = fma_f(x, column[c], acc[r][c]);
    }
    g += kTileRows;
    a += kTileColumns;
  }
  const vf weights = set_f(w);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) {
      const float *p = at(from.first, r * from.stride + c * kLanesF);
      store_f(at(to.first, r * to.stride + c * kLanesF),
              Square ? fma_f(weights * acc[r][c], acc[r][c], load_f(p)) : acc[r][c]);
    }
  }
}

template <int64_t Width>
FM_INLINE void copy_row(const float *from, int64_t n, float *to) {
  if (n == Width) {
    __builtin_memcpy(to, from, Width * 4);
  } else {
    for (int64_t k = 0; k < n; ++k) to[k] = float_at(from, k);
    for (int64_t k = n; k < Width; ++k) to[k] = 0.0f;
  }
}

// A tile at the edge of F, which the inner loops see as a whole one, with zeros outside.
template <bool In>
void copy_edge(float *fisher, int64_t inputs, int64_t rows, int64_t columns, float *scratch) {
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int64_t c = 0; c < kTileColumns; ++c) {
      const bool inside = r < rows && c < columns;
      float *s = scratch + r * kTileColumns + c;
      if constexpr (In) {
        *s = inside ? float_at(fisher, r * inputs + c) : 0.0f;
      } else if (inside) {
        put_float_at(fisher, r * inputs + c, *s);
      }
    }
  }
}

// The tiles of one block of F. The first visit of a tile takes it from F and the last one puts it back; in between it
// stays in scratch, where tiles are whole and contiguous.
struct Block {
  float *fisher;  // at the block's first element
  int64_t inputs;
  int64_t rows;
  int64_t columns;
  float *scratch;

  int64_t down() const { return divide_up(rows, kTileRows); }
  int64_t across() const { return divide_up(columns, kTileColumns); }
};

// Runs the block's tile in row p, column q of tiles.
template <bool Square>
FM_INLINE void visit(const Block &block, int64_t p, int64_t q, const float *g, const float *a, int64_t depth, float w,
                     bool first, bool last) {
  const int64_t rows = block.rows - p * kTileRows;
  const int64_t columns = block.columns - q * kTileColumns;
  const Rows inside = {block.scratch + (q * block.down() + p) * kTile, kTileColumns};
  const Rows outside = {at(block.fisher, p * kTileRows * block.inputs + q * kTileColumns), block.inputs};
  for (int line = 0; line < kTile; line += 16) __builtin_prefetch(inside.first + line, 1);
  const bool whole = rows >= kTileRows && columns >= kTileColumns;
  if (whole && (first || last)) {
    // Both ends of a row, which need not start on a cache line.
    for (int r = 0; r < kTileRows; ++r) {
      __builtin_prefetch(at(outside.first, r * outside.stride), 1);
      __builtin_prefetch(at(outside.first, r * outside.stride + kTileColumns - 1), 1);
    }
  }
  if (first && !whole) copy_edge<true>(outside.first, block.inputs, rows, columns, inside.first);
  tile<Square>(g, a, depth, w, first && whole ? outside : inside, last && whole ? outside : inside);
  if (last && !whole) copy_edge<false>(outside.first, block.inputs, rows, columns, inside.first);
}

}  // namespace

void squared_gradients_prepare(const fm_cotangents *g, const fm_activations *a, fm_squared_gradients_plan *plan) {
  const int64_t panels_g = divide_up(g->width, kTileRows);
  const int64_t panels_a = divide_up(a->width, kTileColumns);
  const bool one = g->tokens == 1;
  plan->packed_g = (one ? 1 : g->probes) * g->examples * g->tokens * panels_g * kTileRows;
  plan->packed_a = g->examples * g->tokens * panels_a * kTileColumns;
  plan->scratch = kItemsTogether * kItemRows * kBlockColumns;
  plan->pack_g_items = panels_g * (one ? 1 : g->probes * g->examples);
  plan->pack_a_items = panels_a * (one ? 1 : g->examples);
  plan->blocks = divide_up(g->width, kItemRows) * divide_up(a->width, kBlockColumns);
}

void squared_gradients_pack_g(const fm_cotangents *g, float *packed_g, int64_t begin, int64_t end) {
  const int64_t panels = divide_up(g->width, kTileRows);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t o = item % panels * kTileRows;
    const int64_t n = min64(kTileRows, g->width - o);
    if (g->tokens == 1) {
      float *to = packed_g + item * g->examples * kTileRows;
      for (int64_t b = 0; b < g->examples; ++b, to += kTileRows) {
        for (int64_t r = 0; r < kTileRows; ++r) {
          float s = 0.0f;
          for (int64_t v = 0; r < n && v < g->probes; ++v) {
            const float x = float_at(row(g, v, b, 0), o + r);
            const float term = (weight(g, v, b) * x) * x;
            s = v == 0 ? term : s + term;
          }
          to[r] = s;
        }
      }
    } else {
      const int64_t example = item / panels;
      const int64_t v = example / g->examples;
      const int64_t b = example % g->examples;
      float *to = packed_g + item * g->tokens * kTileRows;
      for (int64_t t = 0; t < g->tokens; ++t, to += kTileRows) {
        const float *from = at(row(g, v, b, t), o);
        __builtin_prefetch(at(from, kAhead));
        copy_row<kTileRows>(from, n, to);
      }
    }
  }
}

void squared_gradients_pack_a(const fm_activations *a, int64_t examples, int64_t tokens, float *packed_a, int64_t begin,
                              int64_t end) {
  const int64_t panels = divide_up(a->width, kTileColumns);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t i = item % panels * kTileColumns;
    const int64_t n = min64(kTileColumns, a->width - i);
    if (tokens == 1) {
      float *to = packed_a + item * examples * kTileColumns;
      for (int64_t b = 0; b < examples; ++b, to += kTileColumns) {
        copy_row<kTileColumns>(at(row(a, b, 0), i), n, to);
        for (int64_t c = 0; c < kTileColumns; ++c) to[c] *= to[c];
      }
    } else {
      float *to = packed_a + item * tokens * kTileColumns;
      for (int64_t t = 0; t < tokens; ++t, to += kTileColumns) {
        const float *from = at(row(a, item / panels, t), i);
        __builtin_prefetch(at(from, kAhead));
        copy_row<kTileColumns>(from, n, to);
      }
    }
  }
}

void squared_gradients_blocks(const fm_cotangents *g, const fm_activations *a, const float *packed_g,
                              const float *packed_a, float *scratch, float *fisher, int64_t begin, int64_t end) {
  const int64_t panels_g = divide_up(g->width, kTileRows);
  const int64_t panels_a = divide_up(a->width, kTileColumns);
  const int64_t items_down = divide_up(g->width, kItemRows);
  int64_t items;
  for (int64_t item = begin; item < end; item += items) {
    const int64_t neighbours = min64(end - item, items_down - item % items_down);
    items = divide_up(neighbours, divide_up(neighbours, kItemsTogether));
    const int64_t o = item % items_down * kItemRows;
    const int64_t i = item / items_down * kBlockColumns;
    const Block block = {at(fisher, o * a->width + i), a->width, min64(items * kItemRows, g->width - o),
                         min64(kBlockColumns, a->width - i), scratch};
    const int64_t first_g = o / kTileRows;
    const int64_t first_a = i / kTileColumns;
    if (g->tokens == 1) {
      for (int64_t b = 0; b < g->examples; b += kDepth) {
        const int64_t depth = min64(kDepth, g->examples - b);
        for (int64_t q = 0; q < block.across(); ++q) {
          const float *pa = packed_a + ((first_a + q) * g->examples + b) * kTileColumns;
          for (int64_t p = 0; p < block.down(); ++p) {
            const float *pg = packed_g + ((first_g + p) * g->examples + b) * kTileRows;
            visit<false>(block, p, q, pg, pa, depth, 1.0f, b == 0, b + depth == g->examples);
          }
        }
      }
    } else {
      for (int64_t b = 0; b < g->examples; ++b) {
        for (int64_t q = 0; q < block.across(); ++q) {
          const float *pa = packed_a + (b * panels_a + first_a + q) * g->tokens * kTileColumns;
          for (int64_t v = 0; v < g->probes; ++v) {
            const float *pg = packed_g + ((v * g->examples + b) * panels_g + first_g) * g->tokens * kTileRows;
            const float w = weight(g, v, b);
            const bool first = b == 0 && v == 0;
            const bool last = b == g->examples - 1 && v == g->probes - 1;
            for (int64_t p = 0; p < block.down(); ++p, pg += g->tokens * kTileRows) {
              visit<true>(block, p, q, pg, pa, g->tokens, w, first, last);
            }
          }
        }
      }
    }
  }
}

}  // namespace fm::FM_TIER
