#include "sparse/sparse.h"

#include <algorithm>
#include <cstring>

#include "common/simd.h"
#include "common/threads.h"
#include "mlp/gemm.h"

namespace avatarkit::AK_ISA {
namespace {

// Output rows worked on together: small enough to stay in the nearest caches while all taps pass over them.
constexpr int64_t kRows = 128;
// Pairs whose rows are gathered for one product of the weights' gradient.
constexpr int64_t kPairs = 128;

// The outputs `target` += inputs `source` times a tap's matrix, for `Vectors` vectors of output columns.
template <int Rows, int Vectors>
inline void add_rows(const float* in, const int32_t* source, int64_t from, const float* weights, int64_t to, float* out,
                     const int32_t* target) {
    const float* rows[Rows];
    float* sums_at[Rows];
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        rows[i] = in + from * source[i];
        sums_at[i] = out + to * target[i];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sums[i][j] = load(sums_at[i] + j * kLanes);
    }
    for (int64_t r = 0; r < from; ++r) {
        Vec columns[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) columns[j] = load(weights + r * to + j * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const Vec x = splat(rows[i][r]);
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j) sums[i][j] += x * columns[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) store(sums_at[i] + j * kLanes, sums[i][j]);
}

template <int Vectors>
inline void add_pairs(const float* in, const int32_t* source, const int32_t* target, int64_t count, int64_t from,
                      const float* weights, int64_t to, float* out) {
    constexpr int step = Vectors == 1 ? 12 : kLanes == 16 && Vectors == 2 ? 12 : 6;
    int64_t i = 0;
    for (; i + step <= count; i += step) add_rows<step, Vectors>(in, source + i, from, weights, to, out, target + i);
    for (; i + 4 <= count; i += 4) add_rows<4, Vectors>(in, source + i, from, weights, to, out, target + i);
    for (; i + 2 <= count; i += 2) add_rows<2, Vectors>(in, source + i, from, weights, to, out, target + i);
    for (; i < count; ++i) add_rows<1, Vectors>(in, source + i, from, weights, to, out, target + i);
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
    constexpr int most = kLanes == 16 ? 4 : 2;
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<int64_t> at(rules.taps);
#ifdef _OPENMP
        const int part = omp_get_thread_num(), parts = omp_get_num_threads();
#else
        const int part = 0, parts = 1;
#endif
        const Range own = part_of(outputs, part, parts, kRows);
        for (int k = 0; k < rules.taps; ++k)
            at[k] = std::lower_bound(rules.target + rules.begin[k], rules.target + rules.begin[k + 1], own.begin) -
                    rules.target;
        for (int64_t first = own.begin; first < own.end; first += kRows) {
            const int64_t last = std::min(first + kRows, own.end);
            std::memset(out + first * to, 0, sizeof(float) * (last - first) * to);
            for (int k = 0; k < rules.taps; ++k) {
                int64_t end = at[k];
                while (end < rules.begin[k + 1] && rules.target[end] < last) ++end;
                const int32_t *source = rules.source + at[k], *target = rules.target + at[k];
                const int64_t count = end - at[k];
                const float* matrix = weights + k * from * to;
                for (int64_t column = 0; column < to;) {
                    const int64_t left = (to - column) / kLanes;
                    if (most == 4 && left >= 4) {
                        add_pairs<most>(in, source, target, count, from, matrix + column, to, out + column);
                        column += most * kLanes;
                    } else if (left >= 2) {
                        add_pairs<2>(in, source, target, count, from, matrix + column, to, out + column);
                        column += 2 * kLanes;
                    } else {
                        add_pairs<1>(in, source, target, count, from, matrix + column, to, out + column);
                        column += kLanes;
                    }
                }
                at[k] = end;
            }
        }
    }
}

void sparse_conv_weights(const SparseRules& rules, const float* in, int64_t from, const float* gradient, int64_t to,
                         float* weights) {
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> a(kPairs * from), b(kPairs * to);
        // A tap belongs to whichever thread comes first: its sum is the same whoever takes it.
#pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < rules.taps; ++k) {
            float* matrix = weights + k * from * to;
            std::memset(matrix, 0, sizeof(float) * from * to);
            for (int64_t first = rules.begin[k]; first < rules.begin[k + 1]; first += kPairs) {
                const int64_t count = std::min(kPairs, rules.begin[k + 1] - first);
                for (int64_t i = 0; i < count; ++i) {
                    std::memcpy(a + i * from, in + from * rules.source[first + i], sizeof(float) * from);
                    std::memcpy(b + i * to, gradient + to * rules.target[first + i], sizeof(float) * to);
                }
                const int rows = static_cast<int>(from), inner = static_cast<int>(count);
                int64_t column = 0;
                for (; column + 64 <= to; column += 64)
                    gemm<64>(rows, a, 1, from, b + column, to, inner, matrix + column, to, true);
                for (; column + 16 <= to; column += 16)
                    gemm<16>(rows, a, 1, from, b + column, to, inner, matrix + column, to, true);
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
