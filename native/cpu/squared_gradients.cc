// F[o,i] += sum_{b,v} w[v,b] (sum_t g[v,b,t,o] a[b,t,i])^2 without writing a per-example gradient.
//
// Accumulation: float. Tokens > 1: acc = sum over t in order from 0, by fused multiply-add where the tier has one (the
// baseline rounds the product too); then F = fma(w * acc, acc, F), b in order, inside it v in order. One token: s =
// sum over v in order of (w * g) * g, then F = fma(s, a * a, F), b in order: V probes cost one matrix product. Either
// way an element of F sees the examples one by one, in order, so its bits depend neither on the range nor on how a
// sequence of examples is split into batches. Squares of |acc| < 1e-19 vanish below float's range; scale gradients by
// a power of two where that matters. NaN and infinity follow IEEE 754; a weight of 0 does not hide a NaN.
//
// Packing puts g into panels [kTileRows] and a into panels [kTileColumns], zero-padded at the edges. A panel holds the
// tokens of all examples, one example after the other (in g, all probes of an example before the next example).
//
// A visit of a tile of F reads one panel of g and one of a from end to end, which the processor prefetches by itself,
// and adds the squares to the tile after every example. The tile is read from F and written back once per visit; in
// between it stays in L1. At T = 50 the misses on F still cost several percent, so a visit prefetches the next tile, one
// row every few tokens: all rows at once would fill the miss buffers and stall the reads of the panels.
// Large batches take several visits, so that the panels of a block of F stay in L2. An item is kItemRows x kItemColumns
// of F; up to kItemsTogether neighbours of one range make a block, for which a is read from L3 once.
#include "tier.h"

namespace fm::FM_TIER {
namespace {

constexpr int64_t kItemRows = (48 + kTileRows - 1) / kTileRows * kTileRows;
constexpr int64_t kItemColumns = (256 + kTileColumns - 1) / kTileColumns * kTileColumns;
constexpr int64_t kItemsTogether = 4;
constexpr int64_t kTile = static_cast<int64_t>(kTileRows) * kTileColumns;
constexpr int64_t kLine = 16;            // floats
constexpr int kTokensPerRow = 4;         // between two rows of F that are asked for
constexpr int64_t kVisitTokens = 1024;   // of a panel, rounded up to whole examples
constexpr int64_t kOneTokenVisit = 256;  // examples
constexpr int64_t kPanelsTogether = 8;   // that packing fills side by side
constexpr int64_t kPackedTogether = 64;  // examples of one packing item where tokens == 1
constexpr int64_t kRowsAhead = 6;        // of g and a, which are far apart in memory

FM_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where a tile of F is read from or written to: rows of kTileColumns floats.
struct Rows {
  float *first;
  int64_t stride;

  float *row(int64_t r) const { return at(first, r * stride); }
};

FM_INLINE void ask_for_row(Rows tile, int64_t r) {
  for (int64_t c = 0; c < kTileColumns; c += kLine) __builtin_prefetch(at(tile.row(r), c), 1);
}

// One token of a panel of g with one of a.
FM_INLINE void multiply(const float *g, const float *a, vf (&sums)[kTileRows][kTileVectors]) {
  vf column[kTileVectors];
#pragma GCC unroll 4
  for (int c = 0; c < kTileVectors; ++c) column[c] = load_f(a + c * kLanesF);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    vf x = broadcast_f(g + r);
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) sums[r][c] = fma_f(x, column[c], sums[r][c]);
  }
}

// Sum over `depth` of one panel of g with one panel of a. Square: to = fma(w * sum, sum, from); otherwise `from` is the
// sum's initial value and `to` receives it. `from` and `to` may be the same. `next`: a tile that is needed later, or null.
template <bool Square>
FM_INLINE void tile(const float *g, const float *a, int64_t depth, float w, Rows from, Rows to, const Rows *next) {
  vf sums[kTileRows][kTileVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) sums[r][c] = Square ? zero_f() : load_f(at(from.row(r), c * kLanesF));
  }
  if (next != nullptr) {
    int64_t r = 0;
    for (; r < kTileRows && depth >= kTokensPerRow; ++r, depth -= kTokensPerRow) {
      ask_for_row(*next, r);
#pragma GCC unroll 4
      for (int t = 0; t < kTokensPerRow; ++t, g += kTileRows, a += kTileColumns) multiply(g, a, sums);
    }
    for (; r < kTileRows; ++r) ask_for_row(*next, r);
  }
#pragma GCC unroll 4
  for (int64_t t = 0; t < depth; ++t, g += kTileRows, a += kTileColumns) multiply(g, a, sums);
  const vf weights = set_f(w);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kTileVectors; ++c) {
      const float *p = at(from.row(r), c * kLanesF);
      store_f(at(to.row(r), c * kLanesF),
              Square ? fma_f(weights * sums[r][c], sums[r][c], load_f(p)) : sums[r][c]);
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

// The packed operands of one block of F.
struct Panels {
  const fm_cotangents *g;
  const float *packed_g;  // the block's first panel
  const float *packed_a;

  bool one_token() const { return g->tokens == 1; }
  // Tokens of one example in a panel of g.
  int64_t example_tokens() const { return one_token() ? 1 : g->probes * g->tokens; }
  const float *of_g(int64_t p, int64_t b) const {
    return packed_g + (p * g->examples + b) * example_tokens() * kTileRows;
  }
  const float *of_a(int64_t q, int64_t b) const { return packed_a + (q * g->examples + b) * g->tokens * kTileColumns; }
};

// The examples [begin, end) of tile (p, q) of a block. The tile is taken from `from`, put back there, and in between is
// in `scratch`, where its rows do not compete for the same lines of L1.
FM_INLINE void visit(const Panels &panels, int64_t p, int64_t q, int64_t begin, int64_t end, Rows home, float *scratch,
                     Rows next) {
  const float *g = panels.of_g(p, begin);
  const float *a = panels.of_a(q, begin);
  const int64_t tokens = panels.g->tokens;
  const int64_t probes = panels.g->probes;
  if (panels.one_token()) return tile<false>(g, a, end - begin, 1.0f, home, home, &next);
  for (int64_t b = begin; b < end; ++b, a += tokens * kTileColumns) {
    for (int64_t v = 0; v < probes; ++v, g += tokens * kTileRows) {
      const bool first = b == begin && v == 0;
      const bool last = b == end - 1 && v == probes - 1;
      const Rows inside = {scratch, kTileColumns};
      tile<true>(g, a, tokens, weight(panels.g, v, b), first ? home : inside, last ? home : inside,
                 first ? &next : nullptr);
    }
  }
}

// Fills kPanelsTogether panels from column `first` on, `panel_size` floats apart, with `rows` rows:
// put(row, k, n, to) writes the panel's row of Width floats, of which the first n come from column k on.
template <int64_t Width, class Put>
FM_INLINE void fill_panels(int64_t width, int64_t first, int64_t rows, float *to, int64_t panel_size, Put put) {
  const int64_t end = min64(width, first + kPanelsTogether * Width);
  for (int64_t t = 0; t < rows; ++t) {
    float *panel = to + t * Width;
    for (int64_t k = first; k < end; k += Width, panel += panel_size) put(t, k, min64(Width, end - k), panel);
  }
}

template <int64_t Width>
FM_INLINE void ask_for_floats(const float *p) {
  for (int64_t k = 0; k < Width; k += kLine) __builtin_prefetch(at(p, k));
}

}  // namespace

void squared_gradients_prepare(const fm_cotangents *g, const fm_activations *a, fm_squared_gradients_plan *plan) {
  const int64_t panels_g = divide_up(g->width, kTileRows);
  const int64_t panels_a = divide_up(a->width, kTileColumns);
  const bool one = g->tokens == 1;
  const int64_t parts = one ? divide_up(g->examples, kPackedTogether) : g->examples;
  plan->packed_g = (one ? 1 : g->probes) * g->examples * g->tokens * panels_g * kTileRows;
  plan->packed_a = g->examples * g->tokens * panels_a * kTileColumns;
  plan->scratch = kTile;
  plan->pack_g_items = divide_up(panels_g, kPanelsTogether) * parts * (one ? 1 : g->probes);
  plan->pack_a_items = divide_up(panels_a, kPanelsTogether) * parts;
  plan->blocks = divide_up(g->width, kItemRows) * divide_up(a->width, kItemColumns);
}

// An item: kPanelsTogether neighbouring panels, and of them one probe of one example (one token: kPackedTogether
// examples, all probes).
void squared_gradients_pack_g(const fm_cotangents *g, float *packed_g, int64_t begin, int64_t end) {
  const int64_t groups = divide_up(divide_up(g->width, kTileRows), kPanelsTogether);
  const bool one = g->tokens == 1;
  const int64_t depth = one ? g->examples : g->examples * g->probes * g->tokens;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t o = item % groups * kPanelsTogether * kTileRows;
    const int64_t part = item / groups;
    float *first_panel = packed_g + o * depth;
    if (one) {
      const int64_t from = part * kPackedTogether;
      fill_panels<kTileRows>(
          g->width, o, min64(kPackedTogether, g->examples - from), first_panel + from * kTileRows, depth * kTileRows,
          [=](int64_t t, int64_t k, int64_t n, float *to) {
            for (int64_t v = 0; v < g->probes; ++v) {
              const float w = weight(g, v, from + t);
              const float *x = at(row(g, v, from + t, 0), k);
              ask_for_floats<kTileRows>(at(x, kRowsAhead * g->example_stride));
              float values[kTileRows];
              copy_row<kTileRows>(x, n, values);
              for (int64_t r = 0; r < kTileRows; ++r) values[r] = (w * values[r]) * values[r];
              for (int64_t r = 0; r < kTileRows; ++r) to[r] = v == 0 ? values[r] : to[r] + values[r];
            }
          });
    } else {
      const int64_t v = part / g->examples;
      const int64_t b = part % g->examples;
      const float *from = row(g, v, b, 0);
      fill_panels<kTileRows>(g->width, o, g->tokens, first_panel + (b * g->probes + v) * g->tokens * kTileRows,
                             depth * kTileRows, [=](int64_t t, int64_t k, int64_t n, float *to) {
                               const float *x = at(from, t * g->token_stride + k);
                               ask_for_floats<kTileRows>(at(x, kRowsAhead * g->token_stride));
                               copy_row<kTileRows>(x, n, to);
                             });
    }
  }
}

void squared_gradients_pack_a(const fm_activations *a, int64_t examples, int64_t tokens, float *packed_a, int64_t begin,
                              int64_t end) {
  const int64_t groups = divide_up(divide_up(a->width, kTileColumns), kPanelsTogether);
  const bool one = tokens == 1;
  const int64_t stride = one ? a->example_stride : a->token_stride;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t i = item % groups * kPanelsTogether * kTileColumns;
    const int64_t b = item / groups * (one ? kPackedTogether : 1);
    const int64_t rows = one ? min64(kPackedTogether, examples - b) : tokens;
    const float *from = row(a, b, 0);
    fill_panels<kTileColumns>(a->width, i, rows, packed_a + (i * examples + b * kTileColumns) * tokens,
                              examples * tokens * kTileColumns, [=](int64_t t, int64_t k, int64_t n, float *to) {
                                const float *x = at(from, t * stride + k);
                                ask_for_floats<kTileColumns>(at(x, kRowsAhead * stride));
                                copy_row<kTileColumns>(x, n, to);
                                if (one) {
                                  for (int64_t c = 0; c < kTileColumns; ++c) to[c] *= to[c];
                                }
                              });
  }
}

void squared_gradients_blocks(const fm_cotangents *g, const fm_activations *a, const float *packed_g,
                              const float *packed_a, float *scratch, float *fisher, int64_t begin, int64_t end) {
  const int64_t items_down = divide_up(g->width, kItemRows);
  int64_t items;
  for (int64_t item = begin; item < end; item += items) {
    const int64_t neighbours = min64(end - item, items_down - item % items_down);
    items = divide_up(neighbours, divide_up(neighbours, kItemsTogether));
    const int64_t o = item % items_down * kItemRows;
    const int64_t i = item / items_down * kItemColumns;
    const int64_t rows = min64(items * kItemRows, g->width - o);
    const int64_t columns = min64(kItemColumns, a->width - i);
    const int64_t down = divide_up(rows, kTileRows);
    const int64_t across = divide_up(columns, kTileColumns);
    Panels panels = {g, packed_g, packed_a};
    panels.packed_g = panels.of_g(o / kTileRows, 0);
    panels.packed_a = panels.of_a(i / kTileColumns, 0);
    const int64_t examples = panels.one_token() ? kOneTokenVisit : divide_up(kVisitTokens, panels.example_tokens());
    for (int64_t b = 0; b < g->examples; b += examples) {
      const int64_t b_end = min64(g->examples, b + examples);
      for (int64_t q = 0; q < across; ++q) {
        for (int64_t p = 0; p < down; ++p) {
          const auto at_tile = [=](int64_t r, int64_t c) {
            return Rows{at(fisher, (o + r * kTileRows) * a->width + i + c * kTileColumns), a->width};
          };
          const Rows home = at_tile(p, q);
          const Rows next = p + 1 < down ? at_tile(p + 1, q) : at_tile(0, q + 1);
          const int64_t r = rows - p * kTileRows;
          const int64_t c = columns - q * kTileColumns;
          if (r >= kTileRows && c >= kTileColumns) {
            visit(panels, p, q, b, b_end, home, scratch, next);
          } else {
            copy_edge<true>(home.first, a->width, r, c, scratch);
            visit(panels, p, q, b, b_end, Rows{scratch, kTileColumns}, scratch, next);
            copy_edge<false>(home.first, a->width, r, c, scratch);
          }
        }
      }
    }
  }
}

}  // namespace fm::FM_TIER
