// The density network on one tile of samples in 16-bit integers with 32-bit sums: for rendering, on processors with
// AVX512_VNNI (twice the products an instruction).
#pragma once

#ifdef AK_AVX512

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "mlp/mlp.h"
#include "mlp/mlp_tile.h"

#define AK_VNNI __attribute__((target("avx512vnni")))

namespace avatarkit::AK_ISA {

// Two 16-bit integers, as the instruction takes them.
typedef uint32_t Pair;

inline bool has_short_products() { return __builtin_cpu_supports("avx512vnni"); }

// Weights rounded to integers, as large as the sums over any inputs within bounds allow.
class ShortNetwork {
  public:
    static constexpr int kMost = 32767;
    static constexpr float kMostFeature = 32000.f;  // of a table before it is rounded to half precision

    // Features come multiplied by `scale`; of level l they are then at most bounds[l], and none is above kMost.
    ShortNetwork(const FieldNetwork& net, float scale, const float* bounds)
        : density0(net.inputs / 2 * kWidth), density1(kWidth / 2 * kGeometry), pairs(net.inputs / 2) {
        float reach[kWidth];
        for (int r = 0; r < net.inputs; ++r) reach[r] = bounds[r / 4];
        const float first = unit(net.density0, net.inputs, kWidth, reach);
        std::fill(reach, reach + kWidth, static_cast<float>(kMost));
        const float second = unit(net.density1, kWidth, kGeometry, reach);
        for (int r = 0; r < pairs; ++r)
            for (int j = 0; j < kWidth; ++j)
                density0[r * kWidth + j] = pair(net.density0, kWidth, first, 2 * r, 2 * r + 1, j);
        for (int r = 0; r < kWidth / 2; ++r) {
            // The hidden layer's pairs are 16 columns apart: so they fall out of the sums.
            const int low = r / 16 * 32 + r % 16;
            for (int j = 0; j < kGeometry; ++j)
                density1[r * kGeometry + j] = pair(net.density1, kGeometry, second, low, low + 16, j);
        }
        unscale = 1.f / (scale * first * second);
    }

    Scratch<Pair> density0, density1;  // [pairs][64], [32][16]
    int pairs;                         // of inputs
    float unscale;                     // from sums of the second layer to the geometry, but for the shifts between

  private:
    // The integers that a weight of 1 becomes: sums over inputs up to `reach` stay within 32 bits, weights within 16.
    static float unit(const float* weights, int inputs, int columns, const float* reach) {
        float most = 1e-30f, largest = 1e-30f;
        for (int j = 0; j < columns; ++j) {
            float sum = 0.f;
            for (int r = 0; r < inputs; ++r) {
                sum += std::fabs(weights[r * columns + j]) * reach[r];
                largest = std::max(largest, std::fabs(weights[r * columns + j]));
            }
            most = std::max(most, sum);
        }
        return std::min(2.1e9f / most, kMost / largest);  // 2^31 less what rounding may add
    }
    static Pair pair(const float* weights, int columns, float unit, int low, int high, int column) {
        const auto rounded = [&](int r) {
            return static_cast<Pair>(static_cast<int32_t>(std::lrint(weights[r * columns + column] * unit)));
        };
        return (rounded(low) & 0xffff) | rounded(high) << 16;
    }
};

// sums [Rows][Vectors] += a [Rows][pairs] times b [pairs][Vectors * 16].
template <int Rows, int Vectors>
AK_VNNI inline void dot_block(const Pair* a, int row_stride, const Pair* b, int pairs, __m512i (&sums)[Rows][Vectors]) {
    for (int r = 0; r < pairs; ++r) {
        __m512i columns[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) columns[j] = _mm512_loadu_si512(b + (r * Vectors + j) * 16);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const __m512i x = _mm512_set1_epi32(static_cast<int>(a[i * row_stride + r]));
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j) sums[i][j] = _mm512_dpwssd_epi32(sums[i][j], x, columns[j]);
        }
    }
}

// max(sums, 0) of a layer of 64, shifted right until all are below 2^15, as [Rows][32] pairs; returns the shift.
template <int Rows>
AK_VNNI inline int store_rectified(__m512i (&sums)[Rows][4], Pair* out) {
    __m512i largest = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            sums[i][j] = _mm512_max_epi32(sums[i][j], _mm512_setzero_si512());
            largest = _mm512_max_epi32(largest, sums[i][j]);
        }
    const int bits = 32 - __builtin_clz(static_cast<unsigned>(_mm512_reduce_max_epi32(largest)) | 1);
    const int shift = std::max(bits - 15, 0);
    const __m128i right = _mm_cvtsi32_si128(shift);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < 4; j += 2) {
            const __m512i low = _mm512_srl_epi32(sums[i][j], right), high = _mm512_srl_epi32(sums[i][j + 1], right);
            _mm512_storeu_si512(out + i * 32 + j * 8, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    return shift;
}

// rows [kTile][pairs] of scaled features, 32 apart -> geometry [kTile][16]; see density_tile.
AK_VNNI inline void geometry_tile(const ShortNetwork& net, const Pair* rows, float* geometry) {
    constexpr int six = 6, twelve = 12;
    static_assert(kTile % twelve == 0);
    alignas(64) Pair hidden[twelve * 32];
    for (int s = 0; s < kTile; s += twelve) {
        float unscale[2];
        for (int half = 0; half < 2; ++half) {
            __m512i sums[six][4] = {};
            dot_block<six, 4>(rows + (s + half * six) * 32, 32, net.density0, net.pairs, sums);
            const int shift = store_rectified<six>(sums, hidden + half * six * 32);
            unscale[half] = std::ldexp(net.unscale, shift);
        }
        __m512i sums[twelve][1] = {};
        dot_block<twelve, 1>(hidden, 32, net.density1, 32, sums);
        for (int i = 0; i < twelve; ++i)
            store(geometry + (s + i) * kGeometry, (Vec)_mm512_cvtepi32_ps(sums[i][0]) * splat(unscale[i / six]));
    }
}

}  // namespace avatarkit::AK_ISA

#undef AK_VNNI
#endif
