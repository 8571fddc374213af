#include "sparse/sparse.h"

#include <algorithm>
#include <cstring>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {
namespace {

// Output rows worked on together: few enough numbers to stay in the nearest caches while all taps pass over them.
constexpr int64_t kNumbers = 8192, kFewestRows = 128;
// Channels come in panels of this many: a gathered row of a panel lies at a constant distance from the next one.
constexpr int64_t kPanel = 16;
// Output rows and their pairs that the weights' gradient works on together: their features stay in the second-level
// cache while all taps pass over them, a chunk of pairs in the first.
constexpr int64_t kBlock = 512, kChunk = 96;

// Copies the rows `source` of `in` to panels [from / kPanel][count][kPanel].
inline void gather(const float* in, const int32_t* source, int64_t count, int64_t from, float* panels) {
    for (int64_t i = 0; i < count; ++i) {
        const float* row = in + from * source[i];
        for (int64_t c = 0; c < from; c += kPanel)
            std::memcpy(panels + c * count + i * kPanel, row + c, sizeof(float) * kPanel);
    }
}

// The outputs `target` += gathered rows times a tap's matrix, for `Vectors` vectors of output columns. `panels` begins
// with the first of the rows, `panel` numbers before the same row's next channels.
template <int Rows, int Vectors>
inline void add_rows(const float* panels, int64_t panel, int64_t from, const float* weights, int64_t to, float* out,
                     const int32_t* target) {
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sums[i][j] = load(out + to * target[i] + j * kLanes);
    for (int64_t c = 0; c < from; c += kPanel, panels += panel)
        for (int64_t r = 0; r < kPanel; ++r, weights += to) {
            Vec columns[Vectors];
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j) columns[j] = load(weights + j * kLanes);
#pragma GCC unroll 16
            for (int i = 0; i < Rows; ++i) {
                const Vec x = splat(panels[i * kPanel + r]);
#pragma GCC unroll 4
                for (int j = 0; j < Vectors; ++j) sums[i][j] += x * columns[j];
            }
        }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) store(out + to * target[i] + j * kLanes, sums[i][j]);
}

template <int Vectors>
inline void add_pairs(const float* panels, const int32_t* target, int64_t count, int64_t from, const float* weights,
                      int64_t to, float* out) {
    constexpr int step = Vectors == 1 ? 12 : kLanes == 16 && Vectors == 2 ? 12 : 6;
    const int64_t panel = count * kPanel;
    int64_t i = 0;
    for (; i + step <= count; i += step)
        add_rows<step, Vectors>(panels + i * kPanel, panel, from, weights, to, out, target + i);
    for (; i + 4 <= count; i += 4)
        add_rows<4, Vectors>(panels + i * kPanel, panel, from, weights, to, out, target + i);
    for (; i + 2 <= count; i += 2)
        add_rows<2, Vectors>(panels + i * kPanel, panel, from, weights, to, out, target + i);
    for (; i < count; ++i) add_rows<1, Vectors>(panels + i * kPanel, panel, from, weights, to, out, target + i);
}

// Outer products of `count` pairs, summed onto a tile of a tap's gradient: rows from `in`, columns from `gradient`.
template <int Rows, int Vectors>
inline void add_products(const SparseRules& rules, int64_t first, int64_t count, const float* in, int64_t from,
                         const float* gradient, int64_t to, float* weights) {
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sums[i][j] = load(weights + i * to + j * kLanes);
    for (int64_t p = first; p < first + count; ++p) {
        const float *a = in + from * rules.source[p], *b = gradient + to * rules.target[p];
        Vec columns[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) columns[j] = load(b + j * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const Vec x = splat(a[i]);
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j) sums[i][j] += x * columns[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) store(weights + i * to + j * kLanes, sums[i][j]);
}

// The same for input channels [row, last) and all columns, in tiles that sixteen registers hold (eight with AVX2).
inline void add_panels(const SparseRules& rules, int64_t first, int64_t count, const float* in, int64_t from,
                       int64_t row, int64_t last, const float* gradient, int64_t to, float* weights) {
    for (int64_t column = 0; column < to;) {
        const int64_t left = (to - column) / kLanes;
        const int vectors = kLanes == 16 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
        const int rows = kLanes == 16 ? 16 / vectors : 4;
        for (int64_t r = row; r < last; r += rows) {
            float* tile = weights + r * to + column;
            const float *a = in + r, *b = gradient + column;
            if (vectors == 1)
                add_products<kLanes == 16 ? 16 : 4, 1>(rules, first, count, a, from, b, to, tile);
            else if (vectors == 2)
                add_products<kLanes == 16 ? 8 : 4, 2>(rules, first, count, a, from, b, to, tile);
            else
                add_products<4, 4>(rules, first, count, a, from, b, to, tile);
        }
        column += vectors * kLanes;
    }
}

}  // namespace

void sparse_rules(const int32_t* table, int64_t height, int64_t width, const int32_t* centers, int64_t outputs,
                  int32_t* source, int32_t* target, int64_t* begin) {
    const int threads = thread_count();
    const auto step = [&](int tap) { return tap % 3 - 1 + width * (tap / 3 % 3 - 1 + height * (tap / 9 - 1)); };
    Scratch<int64_t> at(outputs);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < outputs; ++o)
        at[o] = centers[3 * o] + width * (centers[3 * o + 1] + height * centers[3 * o + 2]);
    begin[0] = 0;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int tap = 0; tap < 27; ++tap) {
        int64_t count = 0;
        for (int64_t o = 0; o < outputs; ++o) count += table[at[o] + step(tap)] >= 0;
        begin[tap + 1] = count;
    }
    for (int tap = 0; tap < 27; ++tap) begin[tap + 1] += begin[tap];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int tap = 0; tap < 27; ++tap) {
        int64_t next = begin[tap];
        for (int64_t o = 0; o < outputs; ++o) {
            const int32_t row = table[at[o] + step(tap)];
            if (row < 0) continue;
            source[next] = row;
            target[next++] = static_cast<int32_t>(o);
        }
    }
}

void sparse_reverse(const SparseRules& rules, int64_t inputs, int32_t* source, int32_t* target) {
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<int32_t> reader(inputs);
#pragma omp for schedule(static)
        for (int k = 0; k < rules.taps; ++k) {
            std::memset(reader, -1, sizeof(int32_t) * inputs);
            for (int64_t i = rules.begin[k]; i < rules.begin[k + 1]; ++i) reader[rules.source[i]] = rules.target[i];
            int64_t next = rules.begin[k];
            for (int64_t row = 0; row < inputs; ++row) {
                if (reader[row] < 0) continue;
                source[next] = reader[row];
                target[next++] = static_cast<int32_t>(row);
            }
        }
    }
}

void sparse_conv(const SparseRules& rules, const float* in, int64_t from, const float* weights, int64_t to,
                 int64_t outputs, float* out) {
    const int threads = thread_count();
    const int64_t rows = std::max(kNumbers / to, kFewestRows);
#pragma omp parallel num_threads(threads)
    {
        Scratch<int64_t> at(rules.taps);
        Scratch<float> panels(rows * from);
#ifdef _OPENMP
        const int part = omp_get_thread_num(), parts = omp_get_num_threads();
#else
        const int part = 0, parts = 1;
#endif
        const Range own = part_of(outputs, part, parts, kFewestRows);
        for (int k = 0; k < rules.taps; ++k)
            at[k] = std::lower_bound(rules.target + rules.begin[k], rules.target + rules.begin[k + 1], own.begin) -
                    rules.target;
        for (int64_t first = own.begin; first < own.end; first += rows) {
            const int64_t last = std::min(first + rows, own.end);
            std::memset(out + first * to, 0, sizeof(float) * (last - first) * to);
            for (int k = 0; k < rules.taps; ++k) {
                int64_t end = at[k];
                while (end < rules.begin[k + 1] && rules.target[end] < last) ++end;
                const int32_t* target = rules.target + at[k];
                const int64_t count = end - at[k];
                gather(in, rules.source + at[k], count, from, panels);
                const float* matrix = weights + k * from * to;
                for (int64_t column = 0; column < to;) {
                    const int64_t left = (to - column) / kLanes;
                    if (kLanes == 16 && left >= 4) {
                        add_pairs<4>(panels, target, count, from, matrix + column, to, out + column);
                        column += 4 * kLanes;
                    } else if (left >= 2) {
                        add_pairs<2>(panels, target, count, from, matrix + column, to, out + column);
                        column += 2 * kLanes;
                    } else {
                        add_pairs<1>(panels, target, count, from, matrix + column, to, out + column);
                        column += kLanes;
                    }
                }
                at[k] = end;
            }
        }
    }
}

void sparse_conv_inputs(const SparseRules& rules, const float* gradient, int64_t to, const float* weights,
                        bool mirrored, int64_t from, int64_t inputs, float* out) {
    const int threads = thread_count();
    Scratch<float> turned(rules.taps * from * to);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int k = 0; k < rules.taps; ++k) {
        const float* matrix = weights + (mirrored ? rules.taps - 1 - k : k) * from * to;
        float* transposed = turned + k * from * to;
        for (int64_t row = 0; row < from; row += kPanel)
            for (int64_t column = 0; column < to; ++column)
                for (int64_t r = row; r < row + kPanel; ++r) transposed[column * from + r] = matrix[r * to + column];
    }
    sparse_conv(rules, gradient, to, turned, from, inputs, out);
}

void sparse_conv_weights(const SparseRules& rules, const float* in, int64_t from, const float* gradient, int64_t to,
                         float* weights) {
    const int threads = thread_count();
    const int64_t all = rules.begin[rules.taps], groups = from / kPanel;
    int64_t targets = 0;  // rows that any tap writes to
    for (int k = 0; k < rules.taps; ++k)
        if (rules.begin[k] < rules.begin[k + 1])
            targets = std::max<int64_t>(targets, rules.target[rules.begin[k + 1] - 1] + 1);
    std::memset(weights, 0, sizeof(float) * rules.taps * from * to);
#pragma omp parallel num_threads(threads)
    {
#ifdef _OPENMP
        const int part = omp_get_thread_num(), parts = omp_get_num_threads();
#else
        const int part = 0, parts = 1;
#endif
        // A panel of a tap's channels is summed by the thread in whose share of all products its middle lies, in an
        // order that does not depend on which one that is. Channels of tap k before thread `p`'s:
        const auto before = [&](int k, int p) {
            const int64_t pairs = rules.begin[k + 1] - rules.begin[k];
            int64_t group = 0;
            while (group < groups &&
                   (2 * rules.begin[k] * groups + (2 * group + 1) * pairs) * parts < 2 * p * all * groups)
                ++group;
            return group * kPanel;
        };
        Scratch<int64_t> at(rules.taps), first(rules.taps), last(rules.taps);
        for (int k = 0; k < rules.taps; ++k) {
            at[k] = rules.begin[k];
            first[k] = before(k, part);
            last[k] = before(k, part + 1);
        }
        for (int64_t block = 0; block < targets; block += kBlock)
            for (int k = 0; k < rules.taps; ++k) {
                if (first[k] == last[k]) continue;
                int64_t end = at[k];
                while (end < rules.begin[k + 1] && rules.target[end] < block + kBlock) ++end;
                for (; at[k] < end; at[k] = std::min(at[k] + kChunk, end))
                    add_panels(rules, at[k], std::min(kChunk, end - at[k]), in, from, first[k], last[k], gradient, to,
                               weights + k * from * to);
            }
    }
}

}  // namespace avatarkit::AK_ISA
