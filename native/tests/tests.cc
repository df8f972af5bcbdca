// Every kernel at one tier against plain loops in double, on operands that end against an unreadable page.
// Usage: fm_tests <tier> <family>; exit 77 where this machine cannot run the tier.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fisher_kernels.h"
#include "kernel_list.h"

namespace {

const fm_kernels *kernels = nullptr;
int failures = 0;

#define EXPECT(condition, ...)                                  \
  do {                                                          \
    if (!(condition)) {                                         \
      if (++failures <= 20) {                                   \
        printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);  \
        printf(__VA_ARGS__);                                    \
        printf("\n");                                           \
      }                                                         \
    }                                                           \
  } while (false)

#define EXPECT_OK(call) EXPECT((call) == FM_OK, "%s", fm_last_error())

// A fixed generator, so that a failure repeats.
struct random_source {
  uint64_t state;
  explicit random_source(uint64_t seed) : state(seed * 2862933555777941757u + 3037000493u) {}
  double uniform(double low, double high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * static_cast<double>(state >> 11) * 0x1p-53;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(uniform(0, static_cast<double>(n))); }
};

// `count` elements that end `shift` bytes before an unreadable page.
template <class T>
class guarded {
 public:
  explicit guarded(int64_t count, int shift = 0) : count_(count) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(count) * sizeof(T) + static_cast<size_t>(shift);
    size_ = (bytes + page - 1) / page * page + page;
    void *p = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(static_cast<char *>(p) + size_ - page, page, PROT_NONE) != 0) abort();
    base_ = static_cast<char *>(p);
    data_ = base_ + size_ - page - bytes;
  }
  ~guarded() { munmap(base_, size_); }
  guarded(const guarded &) = delete;
  guarded &operator=(const guarded &) = delete;

  T *data() { return reinterpret_cast<T *>(reinterpret_cast<uintptr_t>(data_)); }
  int64_t size() const { return count_; }
  T get(int64_t k) const {
    T x;
    memcpy(&x, data_ + k * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return x;
  }
  void set(int64_t k, T x) { memcpy(data_ + k * static_cast<int64_t>(sizeof(T)), &x, sizeof(T)); }
  void fill(random_source &random, double low, double high) {
    for (int64_t k = 0; k < count_; ++k) set(k, static_cast<T>(random.uniform(low, high)));
  }
  std::vector<T> copy() const {
    std::vector<T> x(static_cast<size_t>(count_));
    if (count_ > 0) memcpy(x.data(), data_, x.size() * sizeof(T));
    return x;
  }
  void assign(const std::vector<T> &x) {
    if (!x.empty()) memcpy(data_, x.data(), x.size() * sizeof(T));
  }

 private:
  int64_t count_;
  size_t size_;
  char *base_;
  char *data_;
};

template <class T>
bool same_bits(const guarded<T> &a, const std::vector<T> &b) {
  const std::vector<T> copy = a.copy();
  return copy.size() == b.size() && (b.empty() || memcmp(copy.data(), b.data(), b.size() * sizeof(T)) == 0);
}

// ---- number formats, from their definitions ----

int64_t bytes_of(int type) { return type == FM_F64 ? 8 : type == FM_F32 ? 4 : 2; }
int fraction_bits(int type) { return type == FM_F16 ? 10 : type == FM_BF16 ? 7 : 23; }
int min_exponent(int type) { return type == FM_F16 ? -14 : -126; }

double decode_half(uint16_t bits, int type) {
  const int fraction = fraction_bits(type);
  const int all_ones = type == FM_F16 ? 31 : 255;
  const int exponent = (bits & 0x7FFF) >> fraction;
  const int significand = bits & ((1 << fraction) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == all_ones) return significand == 0 ? sign * INFINITY : NAN;
  const int hidden = exponent == 0 ? 0 : 1 << fraction;
  return sign * ldexp(significand + hidden, std::max(exponent, 1) - all_ones / 2 - fraction);
}

// Nearest even in the format's own step; the step and the quotient are exact in double.
double round_to(double x, int type) {
  if (type == FM_F64 || x == 0 || !isfinite(x)) return x;
  const int step = std::max(ilogb(x), min_exponent(type)) - fraction_bits(type);
  const double rounded = ldexp(nearbyint(ldexp(x, -step)), step);
  const double limit = type == FM_F16 ? 65504 : type == FM_BF16 ? 0x1.FEp127 : 0x1.FFFFFEp127;
  return fabs(rounded) > limit ? copysign(INFINITY, x) : rounded;
}

double read(const guarded<uint8_t> &x, int type, int64_t k) {
  if (type == FM_F64 || type == FM_F32) {
    uint8_t raw[8];
    for (int64_t b = 0; b < bytes_of(type); ++b) raw[b] = x.get(k * bytes_of(type) + b);
    if (type == FM_F64) {
      double value;
      memcpy(&value, raw, 8);
      return value;
    }
    float value;
    memcpy(&value, raw, 4);
    return value;
  }
  return decode_half(static_cast<uint16_t>(x.get(2 * k) | x.get(2 * k + 1) << 8), type);
}

void write(guarded<uint8_t> &x, int type, int64_t k, double value) {
  uint8_t raw[8];
  const float single = static_cast<float>(value);
  if (type == FM_F64) {
    memcpy(raw, &value, 8);
  } else if (type == FM_F32) {
    memcpy(raw, &single, 4);
  } else {
    // Encode by steps: the value is already one of the format's.
    const int fraction = fraction_bits(type);
    uint32_t bits = signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    if (isnan(value)) {
      bits = type == FM_F16 ? 0x7E00 : 0x7FC0;
    } else if (isinf(value)) {
      bits |= type == FM_F16 ? 0x7C00 : 0x7F80;
    } else if (magnitude > 0) {
      const int exponent = std::max(ilogb(magnitude), min_exponent(type));
      bits |= (static_cast<uint32_t>(exponent - min_exponent(type)) << fraction) +
              static_cast<uint32_t>(ldexp(magnitude, fraction - exponent));
    }
    raw[0] = static_cast<uint8_t>(bits);
    raw[1] = static_cast<uint8_t>(bits >> 8);
  }
  for (int64_t b = 0; b < bytes_of(type); ++b) x.set(k * bytes_of(type) + b, raw[b]);
}

bool same(double a, double b) {
  return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

// ---- weighted average ----

void average_case(int64_t models, int64_t count, int value_type, int fisher_type, int out_type, int shift) {
  random_source random(static_cast<uint64_t>(models * 1000 + count));
  std::vector<guarded<uint8_t> *> owned;
  std::vector<fm_weighted_input> inputs;
  std::vector<double> num(static_cast<size_t>(count));
  std::vector<double> den(static_cast<size_t>(count));
  for (int64_t m = 0; m < models; ++m) {
    auto *values = new guarded<uint8_t>(count * bytes_of(value_type), shift);
    owned.push_back(values);
    guarded<uint8_t> *fisher = nullptr;
    if (m % 3 != 1) owned.push_back(fisher = new guarded<uint8_t>(count * bytes_of(fisher_type), shift));
    const double scale = random.uniform(0.1, 2);
    const double offset = random.uniform(0.01, 0.1);
    for (size_t j = 0; j < static_cast<size_t>(count); ++j) {
      const int64_t at = static_cast<int64_t>(j);
      write(*values, value_type, at, round_to(random.uniform(-2, 2), value_type));
      double w = offset;
      if (fisher != nullptr) {
        write(*fisher, fisher_type, at, round_to(random.uniform(0, 3), fisher_type));
        w = scale * read(*fisher, fisher_type, at) + offset;
      }
      const double term = w * read(*values, value_type, at);
      num[j] = m == 0 ? term : num[j] + term;
      den[j] = m == 0 ? w : den[j] + w;
    }
    inputs.push_back({values->data(), fisher == nullptr ? nullptr : fisher->data(), scale, offset, value_type, fisher_type});
  }
  guarded<uint8_t> base(count * bytes_of(fisher_type), shift);
  for (int64_t j = 0; j < count; ++j) write(base, fisher_type, j, round_to(random.uniform(-2, 2), fisher_type));
  const bool scaled = count % 2 == 1;
  const fm_values base_values = {base.data(), fisher_type};
  const fm_values *from = scaled ? &base_values : nullptr;
  guarded<uint8_t> out(count * bytes_of(out_type), shift);
  EXPECT_OK(fm_weighted_average(kernels, inputs.data(), models, from, 0.3, out.data(), out_type, 0, count));
  for (int64_t j = 0; j < count; ++j) {
    const double average = num[static_cast<size_t>(j)] / den[static_cast<size_t>(j)];
    const double b = read(base, fisher_type, j);
    const double expected = round_to(scaled ? b + 0.3 * (average - b) : 0.3 * average, out_type);
    EXPECT(same(read(out, out_type, j), expected), "models %d count %d types %d %d %d shift %d at %d: %a, expected %a",
           static_cast<int>(models), static_cast<int>(count), value_type, fisher_type, out_type, shift,
           static_cast<int>(j), read(out, out_type, j), expected);
  }
  const std::vector<uint8_t> whole = out.copy();
  for (int64_t begin = 0; begin < count;) {
    const int64_t end = std::min(count, begin + 1 + random.below(1500));
    EXPECT_OK(fm_weighted_average(kernels, inputs.data(), models, from, 0.3, out.data(), out_type, begin, end));
    begin = end;
  }
  EXPECT(same_bits(out, whole), "ranges change the bits at count %d", static_cast<int>(count));
  for (guarded<uint8_t> *p : owned) delete p;
}

void weighted_average() {
  for (int value = FM_F32; value <= FM_F64; ++value) {
    for (int fisher = FM_F32; fisher <= FM_F64; ++fisher) {
      for (int out = FM_F32; out <= FM_F64; ++out) {
        const int shift = (value + 2 * fisher + 3 * out) % 4;
        average_case(1 + (value + fisher + out) % 5, 61 + 7 * out, value, fisher, out, shift);
      }
    }
  }
  for (int64_t count = 0; count <= 40; ++count) average_case(3, count, FM_F32, FM_F32, FM_F32, static_cast<int>(count % 4));
  for (int64_t count : {1023, 1024, 1025, 2049, 3000}) average_case(2, count, FM_F32, FM_F32, FM_F32, 0);
  for (int shift : {0, 1, 2, 4, 12}) average_case(2, 70001, FM_F32, FM_F32, FM_F32, shift);  // streaming stores
}

// Every 16-bit value read, and every 16-bit boundary of rounding: ties, their neighbours, and values that a detour
// through float would move onto a tie.
void rounding() {
  for (int type : {FM_F16, FM_BF16}) {
    guarded<uint16_t> in(65536);
    guarded<double> out(65536);
    for (int64_t k = 0; k < 65536; ++k) in.set(k, static_cast<uint16_t>(k));
    const fm_weighted_input input = {in.data(), nullptr, 0, 1, type, FM_F32};
    EXPECT_OK(fm_weighted_average(kernels, &input, 1, nullptr, 1, out.data(), FM_F64, 0, 65536));
    for (int64_t k = 0; k < 65536; ++k) {
      EXPECT(same(out.get(k), decode_half(static_cast<uint16_t>(k), type)), "type %d bits %04x", type,
             static_cast<unsigned>(k));
    }
    std::vector<double> x;
    std::vector<double> plain;  // no tie nearby: vectors of such values take the short way
    const int top = type == FM_F16 ? 0x7C00 : 0x7F80;
    for (int bits = 0; bits < top; ++bits) {
      const double low = decode_half(static_cast<uint16_t>(bits), type);
      const double gap = bits + 1 < top ? decode_half(static_cast<uint16_t>(bits + 1), type) - low
                                        : low - decode_half(static_cast<uint16_t>(bits - 1), type);
      const double tie = low + gap / 2;
      for (double v : {low, tie, nextafter(tie, 0), nextafter(tie, INFINITY), tie + gap * 0x1p-35, tie - gap * 0x1p-35}) {
        x.push_back(v);
        x.push_back(-v);
      }
      for (double part : {0.0, 0.25, 0.49, 0.51, 0.75, 1.0}) plain.push_back((bits % 2 ? 1 : -1) * (low + part * gap));
    }
    for (double v : {0.0, 0x1p-1074, 0x1p-1022, 1.7e308, 1e39, static_cast<double>(INFINITY)}) {
      x.push_back(v);
      x.push_back(-v);
    }
    x.push_back(NAN);
    x.insert(x.end(), plain.begin(), plain.end());
    const int64_t count = static_cast<int64_t>(x.size());
    guarded<double> wide(count);
    wide.assign(x);
    guarded<uint8_t> narrow(2 * count);
    const fm_weighted_input wide_input = {wide.data(), nullptr, 0, 1, FM_F64, FM_F32};
    EXPECT_OK(fm_weighted_average(kernels, &wide_input, 1, nullptr, 1, narrow.data(), type, 0, count));
    for (int64_t k = 0; k < count; ++k) {
      const double expected = round_to(wide.get(k), type);
      EXPECT(same(read(narrow, type, k), expected), "type %d of %a: %a, expected %a", type, wide.get(k),
             read(narrow, type, k), expected);
      if (isnan(expected)) {
        EXPECT((narrow.get(2 * k + (type == FM_F16 ? 1 : 0)) & (type == FM_F16 ? 0x02 : 0x40)) != 0, "NaN is signalling");
      }
    }
  }
}

void special_values() {
  const double rows[][5] = {
      {1, 0, 2, 0, NAN},         {1, 0, 2, 1, 2},          {NAN, 0, 2, 1, NAN},
      {INFINITY, 1, 2, 1, INFINITY}, {INFINITY, 1, -INFINITY, 1, NAN}, {1, INFINITY, 2, 1, NAN},
      {1, NAN, 2, 1, NAN},       {-0.0, 1, -0.0, 1, -0.0}, {0x1p-149, 1, 0x1p-149, 1, 0x1p-149},
      {0x1p-126, 1, 0, 1, 0x1p-127}};
  for (const auto &r : rows) {
    for (int64_t count : {1, 3, 16, 33}) {
      guarded<float> v0(count), f0(count), v1(count), f1(count), out(count);
      for (int64_t k = 0; k < count; ++k) {
        v0.set(k, static_cast<float>(r[0]));
        f0.set(k, static_cast<float>(r[1]));
        v1.set(k, static_cast<float>(r[2]));
        f1.set(k, static_cast<float>(r[3]));
      }
      const fm_weighted_input inputs[] = {{v0.data(), f0.data(), 1, 0, FM_F32, FM_F32},
                                          {v1.data(), f1.data(), 1, 0, FM_F32, FM_F32}};
      EXPECT_OK(fm_weighted_average(kernels, inputs, 2, nullptr, 1, out.data(), FM_F32, 0, count));
      for (int64_t k = 0; k < count; ++k) EXPECT(same(out.get(k), r[4]), "%a, expected %a", static_cast<double>(out.get(k)), r[4]);
    }
  }
  // A NaN in one output's gradient reaches that row of F and no other, an infinite one gives infinity.
  for (int64_t tokens : {1, 3}) {
    guarded<float> g(2 * tokens * 9), a(2 * tokens * 21), fisher(9 * 21);
    random_source random(5);
    g.fill(random, 0.5, 1);
    a.fill(random, 0.5, 1);
    g.set(4, NAN);
    g.set(7, INFINITY);
    const fm_cotangents cotangents = {g.data(), 0, tokens * 9, 9, nullptr, 0, 1, 2, tokens, 9};
    const fm_activations activations = {a.data(), tokens * 21, 21, 21};
    fm_squared_gradients_plan plan;
    EXPECT_OK(fm_squared_gradients_prepare(kernels, &cotangents, &activations, &plan));
    guarded<float> pg(plan.packed_g), pa(plan.packed_a), scratch(plan.scratch);
    EXPECT_OK(fm_squared_gradients_pack_g(kernels, &cotangents, pg.data(), 0, plan.pack_g_items));
    EXPECT_OK(fm_squared_gradients_pack_a(kernels, &activations, 2, tokens, pa.data(), 0, plan.pack_a_items));
    EXPECT_OK(fm_squared_gradients_blocks(kernels, &cotangents, &activations, pg.data(), pa.data(), scratch.data(),
                                          fisher.data(), 0, plan.blocks));
    for (int64_t k = 0; k < fisher.size(); ++k) {
      const float x = fisher.get(k);
      EXPECT(k / 21 == 4 ? isnan(x) : k / 21 == 7 ? isinf(x) : isfinite(x), "row %d: %g", static_cast<int>(k / 21),
             static_cast<double>(x));
    }
  }
}

// ---- squares ----

// Every third row has another type; the range begins at `begin`. One row of zeros, one of equal values.
void pair_sums_case(int64_t row_count, int64_t count, int64_t begin) {
  random_source random(static_cast<uint64_t>(1000 * row_count + count));
  std::vector<guarded<uint8_t> *> owned;
  std::vector<fm_values> rows;
  for (int64_t p = 0; p < row_count; ++p) {
    const int type = static_cast<int>(p % 3 == 2 ? p % 4 : 0);
    auto *x = new guarded<uint8_t>((begin + count) * bytes_of(type), static_cast<int>(p % 4));
    owned.push_back(x);
    for (int64_t k = 0; k < begin + count; ++k) {
      write(*x, type, k, round_to(p == 3 ? 0 : p == 4 ? 0.25 : random.uniform(0, 3), type));
    }
    rows.push_back({x->data(), type});
  }
  const int64_t pairs = row_count * (row_count + 1) / 2;
  guarded<double> scratch(FM_PAIR_SUMS_SCRATCH * (row_count + 3)), products(pairs), roots(pairs);
  random_source junk(1);
  scratch.fill(junk, -1, 1);
  products.fill(junk, -1, 1);
  EXPECT_OK(fm_pair_sums(kernels, rows.data(), row_count, scratch.data(), products.data(), roots.data(), begin,
                         begin + count));
  for (int64_t p = 0; p < row_count; ++p) {
    for (int64_t q = 0; q <= p; ++q) {
      double product = 0, root = 0;
      for (int64_t from = 0; from < count; from += 256) {
        double lanes[2][8] = {};
        for (int64_t k = from; k < std::min(count, from + 256); ++k) {
          const double x = read(*owned[static_cast<size_t>(p)], rows[static_cast<size_t>(p)].type, begin + k);
          const double y = read(*owned[static_cast<size_t>(q)], rows[static_cast<size_t>(q)].type, begin + k);
          lanes[0][(k - from) % 8] += x * y;
          lanes[1][(k - from) % 8] += sqrt(x) * sqrt(y);
        }
        for (double *l : {lanes[0], lanes[1]}) {
          double &sum = l == lanes[0] ? product : root;
          sum += ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
        }
      }
      const int64_t at = p * (p + 1) / 2 + q;
      EXPECT(same(products.get(at), product) && same(roots.get(at), root), "rows %d count %d pair %d %d: %a %a, expected %a %a",
             static_cast<int>(row_count), static_cast<int>(count), static_cast<int>(p), static_cast<int>(q),
             products.get(at), roots.get(at), product, root);
    }
  }
  for (guarded<uint8_t> *p : owned) delete p;
}

void squares() {
  for (int type = FM_F32; type <= FM_F64; ++type) {
    for (int64_t count : {0, 1, 2, 15, 16, 17, 31, 1000, 65536}) {
      random_source random(static_cast<uint64_t>(count));
      guarded<uint8_t> x(count * bytes_of(type), type % 2);
      double lanes[16] = {};
      double minimum = INFINITY;
      int64_t below = 0;
      const double threshold = round_to(0.5, type);
      for (int64_t k = 0; k < count; ++k) {
        write(x, type, k, k % 7 == 3 ? threshold : round_to(random.uniform(-3, 3), type));
        const double value = read(x, type, k);
        lanes[k % 16] += value * value;
        minimum = std::min(minimum, value);
        below += value < threshold;
      }
      for (int half = 8; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
      }
      fm_value_statistics found = {-1, -1, -1};
      EXPECT_OK(fm_statistics(kernels, x.data(), type, 0, count, threshold, &found));
      EXPECT(same(found.sum_of_squares, lanes[0]), "type %d count %d: %a, expected %a", type, static_cast<int>(count),
             found.sum_of_squares, lanes[0]);
      EXPECT(found.minimum == minimum && found.below == below, "type %d count %d: minimum %a below %d, expected %a %d",
             type, static_cast<int>(count), found.minimum, static_cast<int>(found.below), minimum,
             static_cast<int>(below));
      for (double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY), static_cast<double>(-INFINITY)}) {
        if (count == 0) continue;
        write(x, type, count / 2, bad);
        EXPECT_OK(fm_statistics(kernels, x.data(), type, 0, count, threshold, &found));
        EXPECT(!isfinite(found.sum_of_squares), "type %d count %d with %f", type, static_cast<int>(count), bad);
      }
    }
  }
  for (int64_t row_count : {1, 2, 3, 4, 5, 7, 9}) {
    for (int64_t count : {0, 1, 3, 7, 8, 9, 255, 256, 257, 1000}) pair_sums_case(row_count, count, 3);
  }
  pair_sums_case(64, 777, 0);
  for (int64_t count : {0, 1, 3, 4, 7, 8, 9, 100, 4097}) {
    random_source random(static_cast<uint64_t>(count));
    guarded<float> g(count, 1), fisher(count, 3);
    g.fill(random, -1, 1);
    fisher.fill(random, 0, 1);
    const std::vector<float> before = fisher.copy();
    EXPECT_OK(fm_square_accumulate(kernels, g.data(), 0.3, fisher.data(), 0, count));
    for (int64_t k = 0; k < count; ++k) {
      const double square = static_cast<double>(g.get(k)) * static_cast<double>(g.get(k));
      const float expected = static_cast<float>(static_cast<double>(before[static_cast<size_t>(k)]) + 0.3 * square);
      EXPECT(fisher.get(k) == expected, "count %d at %d", static_cast<int>(count), static_cast<int>(k));
    }
    const std::vector<float> whole = fisher.copy();
    fisher.assign(before);
    EXPECT_OK(fm_square_accumulate(kernels, g.data(), 0.3, fisher.data(), 0, count / 3));
    EXPECT_OK(fm_square_accumulate(kernels, g.data(), 0.3, fisher.data(), count / 3, count));
    EXPECT(same_bits(fisher, whole), "ranges change the bits at count %d", static_cast<int>(count));
  }
}

// ---- Fisher accumulations ----

// A batch with gaps between probes, examples and tokens; NaN in the gaps, nothing after the last row.
struct batch {
  int64_t probes, examples, tokens, outputs, inputs;
  guarded<float> g_data, a_data, weights;
  fm_cotangents g;
  fm_activations a;

  static int64_t extent(int64_t width, std::vector<std::pair<int64_t, int64_t>> sizes_and_strides) {
    int64_t last = width;
    for (auto [size, stride] : sizes_and_strides) last += (size - 1) * stride;
    return last;
  }

  batch(int64_t v, int64_t b, int64_t t, int64_t o, int64_t i, bool weighted, int64_t gap, int shift)
      : probes(v), examples(b), tokens(t), outputs(o), inputs(i),
        g_data(extent(o, {{t, o + gap}, {b, t * (o + gap) + gap}, {v, b * (t * (o + gap) + gap) + gap}}), shift),
        a_data(extent(i, {{t, i + 2 * gap}, {b, t * (i + 2 * gap)}}), shift), weights(v * b, shift) {
    g = {g_data.data(), b * (t * (o + gap) + gap) + gap, t * (o + gap) + gap, o + gap,
         weighted ? weights.data() : nullptr, b, v, b, t, o};
    a = {a_data.data(), t * (i + 2 * gap), i + 2 * gap, i};
    random_source random(static_cast<uint64_t>(v + 10 * b + 100 * t + 1000 * o + 10000 * i));
    weights.fill(random, -1, 1);
    for (int64_t k = 0; k < g_data.size(); ++k) g_data.set(k, NAN);
    for (int64_t k = 0; k < a_data.size(); ++k) a_data.set(k, NAN);
    for (int64_t row = 0; row < v * b * t; ++row) {
      for (int64_t k = 0; k < o; ++k) g_data.set(at_g(row / t / b, row / t % b, row % t) + k, static_cast<float>(random.uniform(-1, 1)));
    }
    for (int64_t row = 0; row < b * t; ++row) {
      for (int64_t k = 0; k < i; ++k) a_data.set(at_a(row / t, row % t) + k, static_cast<float>(random.uniform(-1, 1)));
    }
  }
  int64_t at_g(int64_t v, int64_t b, int64_t t) const { return v * g.probe_stride + b * g.example_stride + t * g.token_stride; }
  int64_t at_a(int64_t b, int64_t t) const { return b * a.example_stride + t * a.token_stride; }
  double gv(int64_t v, int64_t b, int64_t t, int64_t o) const { return g_data.get(at_g(v, b, t) + o); }
  double av(int64_t b, int64_t t, int64_t i) const { return a_data.get(at_a(b, t) + i); }
  double wv(int64_t v, int64_t b) const { return g.weights == nullptr ? 1 : static_cast<double>(weights.get(v * examples + b)); }
};

// One pass with steps cut into ranges of `grain` items.
void run_squared_gradients(const fm_cotangents &g, const fm_activations &a, guarded<float> &fisher, int64_t grain) {
  fm_squared_gradients_plan plan;
  EXPECT_OK(fm_squared_gradients_prepare(kernels, &g, &a, &plan));
  guarded<float> packed_g(plan.packed_g), packed_a(plan.packed_a), scratch(plan.scratch);
  for (int64_t k = 0; k < plan.pack_g_items; k += grain) {
    EXPECT_OK(fm_squared_gradients_pack_g(kernels, &g, packed_g.data(), k, std::min(plan.pack_g_items, k + grain)));
  }
  for (int64_t k = 0; k < plan.pack_a_items; k += grain) {
    EXPECT_OK(fm_squared_gradients_pack_a(kernels, &a, g.examples, g.tokens, packed_a.data(), k,
                                          std::min(plan.pack_a_items, k + grain)));
  }
  for (int64_t k = 0; k < plan.blocks; k += grain) {
    EXPECT_OK(fm_squared_gradients_blocks(kernels, &g, &a, packed_g.data(), packed_a.data(), scratch.data(), fisher.data(), k,
                                          std::min(plan.blocks, k + grain)));
  }
}

void squared_gradients_case(int64_t v, int64_t b, int64_t t, int64_t o, int64_t i, bool weighted, int64_t gap, int shift) {
  const batch x(v, b, t, o, i, weighted, gap, shift);
  random_source random(3);
  guarded<float> fisher(o * i, shift);
  fisher.fill(random, -1, 1);
  const std::vector<float> before = fisher.copy();
  run_squared_gradients(x.g, x.a, fisher, 1 << 30);
  for (int64_t k = 0; k < o * i; ++k) {
    double expected = before[static_cast<size_t>(k)];
    double bound = fabs(expected);
    for (int64_t bb = 0; bb < b; ++bb) {
      for (int64_t vv = 0; vv < v; ++vv) {
        double sum = 0;
        double magnitude = 0;
        for (int64_t tt = 0; tt < t; ++tt) {
          const double term = x.gv(vv, bb, tt, k / i) * x.av(bb, tt, k % i);
          sum += term;
          magnitude += fabs(term);
        }
        expected += x.wv(vv, bb) * sum * sum;
        bound += fabs(x.wv(vv, bb)) * magnitude * magnitude;
      }
    }
    // Rounding: t terms in a sum that is squared, and one rounding of F for each example.
    const double tolerance = 0x1p-24 * (2.0 * static_cast<double>(t) + static_cast<double>(b * v) + 6) * bound;
    EXPECT(fabs(static_cast<double>(fisher.get(k)) - expected) <= tolerance, "V%d B%d T%d O%d I%d at %d: %g, expected %g +- %g",
           static_cast<int>(v), static_cast<int>(b), static_cast<int>(t), static_cast<int>(o), static_cast<int>(i),
           static_cast<int>(k), static_cast<double>(fisher.get(k)), expected, tolerance);
  }
  const std::vector<float> whole = fisher.copy();
  for (int64_t grain : {1, 2, 5}) {
    fisher.assign(before);
    run_squared_gradients(x.g, x.a, fisher, grain);
    EXPECT(same_bits(fisher, whole), "ranges of %d change the bits", static_cast<int>(grain));
  }
  for (int64_t size : {1, 2}) {  // examples of a batch
    fisher.assign(before);
    for (int64_t from = 0; from < b; from += size) {
      fm_cotangents g = x.g;
      fm_activations a = x.a;
      const uintptr_t example = static_cast<uintptr_t>(from) * 4;
      g.data = reinterpret_cast<const float *>(reinterpret_cast<uintptr_t>(g.data) + example * static_cast<uintptr_t>(g.example_stride));
      a.data = reinterpret_cast<const float *>(reinterpret_cast<uintptr_t>(a.data) + example * static_cast<uintptr_t>(a.example_stride));
      if (g.weights != nullptr) g.weights = reinterpret_cast<const float *>(reinterpret_cast<uintptr_t>(g.weights) + example);
      g.examples = std::min(size, b - from);
      run_squared_gradients(g, a, fisher, 1 << 30);
    }
    EXPECT(same_bits(fisher, whole), "batches of %d change the bits at T %d", static_cast<int>(size), static_cast<int>(t));
  }
}

void squared_gradients() {
  squared_gradients_case(1, 1, 1, 1, 1, false, 0, 0);
  squared_gradients_case(1, 3, 2, 5, 7, true, 1, 1);
  squared_gradients_case(2, 3, 7, 13, 33, true, 3, 2);
  squared_gradients_case(3, 2, 50, 17, 31, true, 0, 3);
  squared_gradients_case(1, 2, 3, 97, 257, false, 5, 0);
  squared_gradients_case(1, 2, 3, 200, 520, true, 1, 0);
  squared_gradients_case(1, 3, 257, 14, 32, false, 0, 0);
  squared_gradients_case(2, 1, 1030, 7, 9, true, 0, 0);
  squared_gradients_case(2, 23, 50, 15, 33, true, 1, 0);  // several visits of a tile
  squared_gradients_case(1, 5, 1, 31, 63, true, 2, 1);
  squared_gradients_case(3, 4, 1, 97, 65, true, 1, 0);
  squared_gradients_case(2, 600, 1, 7, 17, false, 0, 0);
  squared_gradients_case(1, 7, 4, 1, 100, true, 0, 0);
  squared_gradients_case(1, 7, 4, 100, 1, true, 0, 0);
  for (int64_t o = 1; o <= 18; ++o) squared_gradients_case(1, 2, 3, o, 40 - o, true, 0, static_cast<int>(o % 4));
}

void relatives_case(int64_t v, int64_t b, int64_t t, int64_t d, int64_t rows, bool weighted, int64_t gap, int shift) {
  batch x(v, b, t, d, d, weighted, gap, shift);
  random_source random(7);
  guarded<float> mean(b * t, shift), rstd(b * t, shift), bias(d, shift), scale(d, shift), shift_fisher(d, shift);
  guarded<float> table(rows * d, shift);
  guarded<int64_t> ids(b * t, shift);
  for (guarded<float> *p : {&mean, &rstd, &bias, &scale, &shift_fisher, &table}) p->fill(random, -1, 1);
  for (int64_t k = 0; k < b * t; ++k) ids.set(k, random.below(rows));
  std::vector<float> bias_before = bias.copy(), scale_before = scale.copy(), shift_before = shift_fisher.copy(),
                     table_before = table.copy();
  std::vector<float> bias_expected = bias_before, scale_expected = scale_before, shift_expected = shift_before,
                     table_expected = table_before;
  for (int64_t bb = 0; bb < b; ++bb) {
    for (int64_t vv = 0; vv < v; ++vv) {
      for (int64_t o = 0; o < d; ++o) {
        const size_t k = static_cast<size_t>(o);
        double sum = 0;
        double scaled = 0;
        std::vector<double> by_row(static_cast<size_t>(rows));
        std::vector<bool> seen(static_cast<size_t>(rows));
        for (int64_t tt = 0; tt < t; ++tt) {
          const double value = x.gv(vv, bb, tt, o);
          sum += value;
          scaled += value * ((x.av(bb, tt, o) - static_cast<double>(mean.get(bb * t + tt))) * static_cast<double>(rstd.get(bb * t + tt)));
          by_row[static_cast<size_t>(ids.get(bb * t + tt))] += value;
          seen[static_cast<size_t>(ids.get(bb * t + tt))] = true;
        }
        const double w = x.wv(vv, bb);
        auto add = [w](float &fisher, double s) { fisher = static_cast<float>(static_cast<double>(fisher) + w * (s * s)); };
        add(bias_expected[k], sum);
        add(scale_expected[k], scaled);
        add(shift_expected[k], sum);
        for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
          if (seen[r]) add(table_expected[r * static_cast<size_t>(d) + k], by_row[r]);
        }
      }
    }
  }
  for (int64_t grain : {d, int64_t{1}, int64_t{7}}) {
    bias.assign(bias_before);
    scale.assign(scale_before);
    shift_fisher.assign(shift_before);
    table.assign(table_before);
    for (int64_t begin = 0; begin < d; begin += grain) {
      const int64_t end = std::min(d, begin + grain);
      EXPECT_OK(fm_token_sum_squares(kernels, &x.g, bias.data(), begin, end));
      EXPECT_OK(fm_layer_norm_squares(kernels, &x.g, &x.a, mean.data(), rstd.data(), scale.data(), shift_fisher.data(),
                                      begin, end));
      EXPECT_OK(fm_embedding_squares(kernels, &x.g, ids.data(), rows, table.data(), begin, end));
    }
    const int where[] = {static_cast<int>(v), static_cast<int>(b), static_cast<int>(t), static_cast<int>(d), static_cast<int>(grain)};
    EXPECT(same_bits(bias, bias_expected), "token sums V%d B%d T%d D%d grain %d", where[0], where[1], where[2], where[3], where[4]);
    EXPECT(same_bits(scale, scale_expected), "scale V%d B%d T%d D%d grain %d", where[0], where[1], where[2], where[3], where[4]);
    EXPECT(same_bits(shift_fisher, shift_expected), "shift V%d B%d T%d D%d grain %d", where[0], where[1], where[2], where[3], where[4]);
    EXPECT(same_bits(table, table_expected), "embedding V%d B%d T%d D%d grain %d", where[0], where[1], where[2], where[3], where[4]);
  }
}

void relatives() {
  for (int64_t d = 1; d <= 20; ++d) relatives_case(1 + d % 3, 2, 5, d, 3, d % 2 == 0, d % 4, static_cast<int>(d % 4));
  relatives_case(1, 1, 1, 300, 1, false, 0, 0);
  relatives_case(2, 3, 50, 65, 9, true, 2, 0);
  relatives_case(1, 2, 77, 513, 30, true, 0, 1);
}

// ---- arguments ----

#define EXPECT_INVALID(call, text)                                                                        \
  do {                                                                                                    \
    EXPECT((call) == FM_INVALID_ARGUMENT, "%s", #call);                                                   \
    EXPECT(strstr(fm_last_error(), text) != nullptr, "message of %s: %s", #call, fm_last_error());        \
  } while (false)

void arguments() {
  float x[4] = {1, 2, 3, 4};
  double sum;
  fm_value_statistics found;
  int64_t ids[1] = {5};
  const fm_weighted_input input = {x, nullptr, 0, 1, FM_F32, FM_F32};
  const fm_weighted_input bad_type = {x, nullptr, 0, 1, 9, FM_F32};
  const fm_cotangents g = {x, 0, 0, 0, nullptr, 0, 1, 1, 1, 4};
  const fm_cotangents negative = {x, 0, 0, 0, nullptr, 0, 1, -1, 1, 4};
  const fm_activations a = {x, 0, 0, 4};
  const fm_activations narrow = {x, 0, 0, 3};
  fm_squared_gradients_plan plan;
  EXPECT_INVALID(fm_weighted_average(nullptr, &input, 1, nullptr, 1, x, FM_F32, 0, 4), "kernels is null");
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 0, nullptr, 1, x, FM_F32, 0, 4), "input_count");
  EXPECT_INVALID(fm_weighted_average(kernels, &bad_type, 1, nullptr, 1, x, FM_F32, 0, 4), "inputs.value_type: unknown element type 9");
  const fm_values no_base = {nullptr, FM_F32};
  const fm_values four = {x, FM_F32};
  const fm_task_vector vector = {x, 1, 1, 0, INT64_MAX, INT64_MAX, 0, uint64_t{1} << 32, 0, INFINITY, FM_F32};
  fm_task_vector crossed = vector;
  crossed.least = 2;
  crossed.most = 1;
  fm_magnitude_counts counts;
  double norms[2];
  EXPECT_INVALID(fm_task_vectors(kernels, &vector, 0, &four, FM_MIX_SUM, 1, 0, x, FM_F32, 0, 4), "vector_count");
  EXPECT_INVALID(fm_task_vectors(kernels, &vector, 1, nullptr, FM_MIX_SUM, 1, 0, x, FM_F32, 0, 4), "base is null");
  EXPECT_INVALID(fm_task_vectors(kernels, &vector, 1, &four, 4, 1, 0, x, FM_F32, 0, 4), "mix: unknown way of mixing 4");
  EXPECT_INVALID(fm_task_vectors(kernels, &crossed, 1, &four, FM_MIX_SUM, 1, 0, x, FM_F32, 0, 4), "least and most");
  EXPECT_INVALID(fm_task_vectors(kernels, &vector, 1, &four, FM_MIX_SUM, 1, -1, x, FM_F32, 0, 4), "first");
  EXPECT_INVALID(fm_magnitudes(kernels, &four, &four, 2, 1, x, &counts, 0, 4), "low and high");
  EXPECT_INVALID(fm_magnitudes(kernels, &four, &four, 1, 2, x, &counts, 5, 4), "range [5, 4)");
  const int64_t places[1] = {0};
  fm_selected_magnitude selected;
  int64_t equal;
  EXPECT_INVALID(fm_sample_magnitudes(kernels, &four, &four, nullptr, 1, x), "places is null");
  EXPECT_INVALID(fm_sample_magnitudes(kernels, &four, &four, places, -1, x), "groups");
  EXPECT_INVALID(fm_select_magnitude(kernels, x, 4, 4, 0, INFINITY, &selected), "rank");
  EXPECT_INVALID(fm_select_magnitude(kernels, nullptr, 4, 0, 0, INFINITY, &selected), "magnitudes is null");
  EXPECT_INVALID(fm_select_magnitude(kernels, x, 4, 0, 2, 1, &selected), "least and most");
  EXPECT_INVALID(fm_count_equal(kernels, x, -1, 0, &equal), "count");
  EXPECT_INVALID(fm_count_equal(kernels, x, 4, 0, nullptr), "equal is null");
  EXPECT_INVALID(fm_task_vector_norms(kernels, &vector, &four, 0, nullptr, 0, 4), "norms is null");
  EXPECT_OK(fm_task_vector_norms(kernels, &vector, &four, 0, norms, 0, 4));
  const fm_values bad_base = {x, 7};
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 1, &no_base, 1, x, FM_F32, 0, 4), "base.data is null");
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 1, &bad_base, 1, x, FM_F32, 0, 4), "base.type: unknown element type 7");
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 1, nullptr, 1, x, -1, 0, 4), "out_type");
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 1, nullptr, 1, nullptr, FM_F32, 0, 4), "out is null");
  EXPECT_INVALID(fm_weighted_average(kernels, &input, 1, nullptr, 1, x, FM_F32, 3, 2), "range [3, 2)");
  EXPECT_INVALID(fm_statistics(kernels, x, 4, 0, 4, 0, &found), "type");
  EXPECT_INVALID(fm_statistics(kernels, x, FM_F32, -1, 4, 0, &found), "range [-1, 4)");
  const fm_values row = {x, FM_F32}, untyped = {x, 7};
  EXPECT_INVALID(fm_pair_sums(kernels, &row, 0, &sum, &sum, &sum, 0, 4), "row_count");
  EXPECT_INVALID(fm_pair_sums(kernels, &row, 1, nullptr, &sum, &sum, 0, 4), "scratch is null");
  EXPECT_INVALID(fm_pair_sums(kernels, &untyped, 1, &sum, &sum, &sum, 0, 4), "rows.type: unknown element type 7");
  EXPECT_INVALID(fm_square_accumulate(kernels, nullptr, 1, x, 0, 4), "gradient is null");
  EXPECT_INVALID(fm_squared_gradients_prepare(kernels, &g, nullptr, &plan), "a is null");
  EXPECT_INVALID(fm_squared_gradients_prepare(kernels, &negative, &a, &plan), "negative");
  EXPECT_INVALID(fm_squared_gradients_pack_g(kernels, &g, x, 0, 1000), "range [0, 1000)");
  EXPECT_INVALID(fm_squared_gradients_pack_a(kernels, &a, 1, 1, nullptr, 0, 1), "packed_a is null");
  EXPECT_INVALID(fm_squared_gradients_blocks(kernels, &g, &a, x, x, x, x, 0, 2), "range [0, 2) does not lie in [0, 1)");
  EXPECT_INVALID(fm_token_sum_squares(kernels, &g, x, 0, 5), "range [0, 5) does not lie in [0, 4)");
  EXPECT_INVALID(fm_layer_norm_squares(kernels, &g, &narrow, x, x, x, x, 0, 4), "x: its width is not that of g");
  EXPECT_INVALID(fm_embedding_squares(kernels, &g, ids, 5, x, 0, 4), "ids[0] = 5 does not lie in [0, 5)");
  EXPECT(x[0] == 1 && x[3] == 4, "a refused call wrote");
}

void interface() {
  EXPECT(fm_abi_version() == FM_ABI_VERSION, "ABI version");
  const fm_kernels *table = nullptr;
  EXPECT(fm_open("avx1024", &table) == FM_UNKNOWN_ISA, "unknown instruction set");
  EXPECT(strstr(fm_last_error(), "'avx1024'; known: auto,baseline") != nullptr, "%s", fm_last_error());
  EXPECT_INVALID(fm_open(nullptr, &table), "max_isa is null");
  EXPECT_INVALID(fm_open("auto", nullptr), "out is null");
  EXPECT(table == nullptr, "a failed fm_open wrote");
  EXPECT_OK(fm_open("baseline", &table));
  EXPECT(strcmp(fm_isa_name(table), "baseline") == 0, "%s", fm_isa_name(table));
  // A limit never raises the choice, and names in the list are known.
  std::string list = fm_isa_list();
  for (size_t at = 0; at != std::string::npos;) {
    const size_t comma = list.find(',', at);
    const std::string name = list.substr(at, comma == std::string::npos ? comma : comma - at);
    EXPECT_OK(fm_open(name.c_str(), &table));
    EXPECT(list.find(fm_isa_name(table)) <= at, "%s chose %s", name.c_str(), fm_isa_name(table));
    printf("%s -> %s\n", name.c_str(), fm_isa_name(table));
    at = comma == std::string::npos ? comma : comma + 1;
  }
  // Every kernel of the list refuses a null table: it is exported and checked.
  int kernel_count = 0;
#define FM_COUNT(name, parameters, arguments) kernel_count += &fm_##name != nullptr;
  FM_KERNEL_LIST(FM_COUNT)
#undef FM_COUNT
  EXPECT(kernel_count == 17, "%d kernels", kernel_count);
}

// A file of three pages that is cut to one: guarded, the rest reads as zeros; unguarded, reading it ends the process.
void guard() {
  const int64_t page = sysconf(_SC_PAGESIZE);
  char name[] = "/tmp/fm_guard_XXXXXX";
  const int file = mkstemp(name);
  EXPECT(file >= 0, "mkstemp");
  unlink(name);
  const std::vector<char> ones(static_cast<size_t>(3 * page), 1);
  EXPECT(::write(file, ones.data(), ones.size()) == 3 * page, "write");
  const auto map = [&] {
    void *mapped = mmap(nullptr, static_cast<size_t>(3 * page), PROT_READ, MAP_SHARED, file, 0);
    EXPECT(mapped != MAP_FAILED, "mmap");
    return static_cast<volatile const char *>(mapped);
  };
  const auto unmap = [&](volatile const char *mapped) {
    munmap(const_cast<char *>(mapped), static_cast<size_t>(3 * page));
  };
  volatile const char *whole = map();
  int32_t held = fm_guard(const_cast<const char *>(whole), 3 * page);
  EXPECT(held >= 0 && whole[2 * page] == 1, "an undamaged file reads as it is");
  EXPECT(fm_guard_release(held) == 0, "an undamaged range counts as damaged");

  held = fm_guard(const_cast<const char *>(whole), 3 * page);
  EXPECT(ftruncate(file, page) == 0, "ftruncate");
  EXPECT(whole[page - 1] == 1, "what is there still reads as it is");
  EXPECT(whole[2 * page + 7] == 0, "what is gone reads as zero");
  EXPECT(whole[page] == 0 && whole[3 * page - 1] == 0, "so does all of it");
  EXPECT(fm_guard_release(held) == 1, "the range is damaged");
  EXPECT(fm_guard_release(held) == 0 && fm_guard_release(-1) == 0, "no guard is released twice");
  unmap(whole);

  const pid_t child = fork();
  if (child == 0) {
    volatile const char *again = map();
    _exit(again[2 * page]);
  }
  int status = 0;
  EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
         "an unguarded fault is left to the system: status %d", status);

  EXPECT(fm_guard(nullptr, page) == -1 && fm_guard(name, 0) == -1, "no range");
  std::vector<int32_t> all;
  for (int i = 0; i < FM_MAX_GUARDS; ++i) all.push_back(fm_guard(name, 1));
  EXPECT(all.back() >= 0 && fm_guard(name, 1) == -1, "as many as the header says");
  for (const int32_t each : all) EXPECT(fm_guard_release(each) == 0, "released");
  close(file);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: fm_tests <tier> <family>\n");
    return 2;
  }
  if (fm_open(argv[1], &kernels) != FM_OK) {
    fprintf(stderr, "%s\n", fm_last_error());
    return 1;
  }
  if (strcmp(argv[1], "auto") != 0 && strcmp(fm_isa_name(kernels), argv[1]) != 0) {
    printf("this machine cannot run %s\n", argv[1]);
    return 77;
  }
  const struct {
    const char *name;
    void (*run)();
  } families[] = {{"weighted_average", weighted_average}, {"rounding", rounding}, {"special_values", special_values},
                  {"squares", squares}, {"squared_gradients", squared_gradients}, {"relatives", relatives},
                  {"arguments", arguments}, {"interface", interface}, {"guard", guard}};
  for (const auto &family : families) {
    if (strcmp(family.name, argv[2]) == 0) {
      family.run();
      printf("%s at %s: %d failures\n", argv[2], fm_isa_name(kernels), failures);
      return failures == 0 ? 0 : 1;
    }
  }
  fprintf(stderr, "unknown family %s\n", argv[2]);
  return 2;
}
