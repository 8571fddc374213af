// The network on one tile of samples with products of bfloat16 pairs, summed in float32: for rendering, on
// processors with AVX512_BF16 (twice the products an instruction).
#pragma once

#ifdef AK_AVX512

#include <algorithm>

#include "common/simd.h"
#include "mlp/mlp.h"
#include "mlp/mlp_tile.h"

#define AK_BF16 __attribute__((target("avx512bf16")))

namespace avatarkit::AK_ISA {

// Pairs of bfloat16 of adjacent inputs, as the instruction takes them.
typedef uint32_t Pair;

inline bool has_bf16() { return __builtin_cpu_supports("avx512bf16"); }

// Weights [inputs][columns] as [inputs / 2][columns] pairs, columns padded with zeros to a multiple of 16.
struct PairedWeights {
    Scratch<Pair> pairs;
    PairedWeights(const float* weights, int inputs, int columns) : pairs(inputs / 2 * padded(columns)) {
        const int width = padded(columns);
        for (int r = 0; r < inputs / 2; ++r)
            for (int j = 0; j < width; ++j) {
                const float low = j < columns ? weights[2 * r * columns + j] : 0.f;
                const float high = j < columns ? weights[(2 * r + 1) * columns + j] : 0.f;
                pairs[r * width + j] = rounded(low) | rounded(high) << 16;
            }
    }
    static int padded(int columns) { return (columns + 15) / 16 * 16; }
    // Round to nearest even; weights are finite.
    static Pair rounded(float x) {
        Pair bits;
        std::memcpy(&bits, &x, 4);
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
};

struct Bf16Network {
    PairedWeights density0, density1, color0, color1;
    explicit Bf16Network(const FieldNetwork& net)
        : density0(net.density0, kWidth, kWidth), density1(net.density1, kWidth, kGeometry),
          color0(net.color0, kGeometry, kWidth), color1(net.color1, kWidth, 3) {}
};

// sums [Rows][Vectors] += a [Rows][pairs] times b [pairs][Vectors * 16].
template <int Rows, int Vectors>
AK_BF16 inline void dot_block(const Pair* a, int row_stride, const Pair* b, int pairs, Vec (&sums)[Rows][Vectors]) {
    for (int r = 0; r < pairs; ++r) {
        __m512bh columns[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) columns[j] = (__m512bh)_mm512_loadu_si512(b + (r * Vectors + j) * 16);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i * row_stride + r]));
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j)
                sums[i][j] = (Vec)_mm512_dpbf16_ps((__m512)sums[i][j], x, columns[j]);
        }
    }
}

AK_BF16 inline void store_pairs(Pair* to, Vec low, Vec high) {
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}

// max(sums, 0) of a layer of 64, rounded to [Rows][32] pairs.
template <int Rows>
AK_BF16 inline void store_rectified(const Vec (&sums)[Rows][4], Pair* out) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < 4; j += 2)
            store_pairs(out + i * 32 + j * 8, larger(sums[i][j], Vec{}), larger(sums[i][j + 1], Vec{}));
}

// rows [kTile][64] float -> density [count], rgb [count][3]; share(s) is where the ray's share of color0 for
// sample s begins.
template <class Share>
AK_BF16 inline void field_tile_bf16(const Bf16Network& net, const float* rows, int count, Share share, float* density,
                                    float* rgb) {
    constexpr int six = 6, twelve = 12;
    static_assert(kTile % twelve == 0);
    alignas(64) Pair hidden[kTile * 32], geometry[kTile * 8];
    alignas(64) float logarithm[kTile], output[kTile * 16];
    for (int s = 0; s < kTile; s += six) {
        alignas(64) Pair inputs[six * 32];
        for (int i = 0; i < six; ++i)
            for (int j = 0; j < 4; j += 2)
                store_pairs(inputs + i * 32 + j * 8, load(rows + (s + i) * kWidth + j * 16),
                            load(rows + (s + i) * kWidth + j * 16 + 16));
        Vec sums[six][4] = {};
        dot_block<six, 4>(inputs, 32, net.density0.pairs, 32, sums);
        store_rectified<six>(sums, hidden + s * 32);
    }
    for (int s = 0; s < kTile; s += twelve) {
        Vec sums[twelve][1] = {};
        dot_block<twelve, 1>(hidden + s * 32, 32, net.density1.pairs, 32, sums);
        for (int i = 0; i < twelve; i += 2) {
            logarithm[s + i] = sums[i][0][0];
            logarithm[s + i + 1] = sums[i + 1][0][0];
            store_pairs(geometry + (s + i) * 8, sums[i][0], sums[i + 1][0]);
        }
    }
    for (int s = 0; s < kTile; s += six) {
        Vec sums[six][4];
        for (int i = 0; i < six; ++i)
            for (int j = 0; j < 4; ++j) sums[i][j] = load(share(std::min(s + i, count - 1)) + j * 16);
        dot_block<six, 4>(geometry + s * 8, 8, net.color0.pairs, 8, sums);
        store_rectified<six>(sums, hidden + s * 32);
    }
    for (int s = 0; s < kTile; s += twelve) {
        Vec sums[twelve][1] = {};
        dot_block<twelve, 1>(hidden + s * 32, 32, net.color1.pairs, 32, sums);
        for (int i = 0; i < twelve; ++i)
            store(output + (s + i) * 16, splat(1.f) / (splat(1.f) + exponential(-sums[i][0])));
    }
    for (int s = 0; s < kTile; s += kLanes)
        store(logarithm + s, exponential(smaller(load(logarithm + s), splat(kMaxLogDensity))));
    std::copy(logarithm, logarithm + count, density);
    for (int s = 0; s < count; ++s) std::copy(output + s * 16, output + s * 16 + 3, rgb + s * 3);
}

}  // namespace avatarkit::AK_ISA

#undef AK_BF16
#endif
