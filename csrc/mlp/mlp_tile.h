// The network on one tile of samples, whose intermediate results stay in the first- and second-level caches.
#pragma once

#include <algorithm>

#include "common/simd.h"
#include "mlp/gemm.h"
#include "mlp/mlp.h"

namespace avatarkit::AK_ISA {

constexpr int kTile = 48;  // samples: a multiple of every register tile's rows
constexpr int kVectors = kWidth / kLanes;

// Copies `count` samples of level-major features into rows 64 apart; rows up to kTile are cleared.
inline void gather_features(const float* features, int levels, int64_t samples, int64_t first, int count, float* rows) {
    for (int level = 0; level < levels; ++level) {
        const float* from = features + (level * samples + first) * 4;
        for (int s = 0; s < count; ++s) {
            // The next tile's share of this level: too short a run for the hardware to see it coming.
            if (s % 4 == 0) __builtin_prefetch(from + (kTile + s) * 4);
            store(rows + s * kWidth + level * 4, load<Vec4>(from + s * 4));
        }
    }
    std::fill(rows + count * kWidth, rows + kTile * kWidth, 0.f);
}

inline void rectify(float* rows, int64_t stride, int count) {
    for (int s = 0; s < count; ++s)
        for (int j = 0; j < kWidth; j += kLanes) store(rows + s * stride + j, larger(load(rows + s * stride + j), Vec{}));
}

// The rays' share of the first color layer: harmonics [16] times the last 16 rows of color0.
inline void ray_share(const FieldNetwork& net, const float* harmonics, float* share) {
    Vec sums[kVectors] = {};
    for (int k = 0; k < kHarmonics; ++k)
        for (int j = 0; j < kVectors; ++j)
            sums[j] += splat(harmonics[k]) * load(net.color0 + (kGeometry + k) * kWidth + j * kLanes);
    for (int j = 0; j < kVectors; ++j) store(share + j * kLanes, sums[j]);
}

// rows [kTile][inputs], 64 apart -> hidden [kTile][144]: first hidden layer and geometry.
inline void density_tile(const FieldNetwork& net, const float* rows, float* hidden) {
    gemm<kWidth>(kTile, rows, kWidth, 1, net.density0, kWidth, net.inputs, hidden, kHidden, false);
    rectify(hidden, kHidden, kTile);
    gemm<kGeometry>(kTile, hidden, kHidden, 1, net.density1, kGeometry, kWidth, hidden + kWidth, kHidden, false);
}

// density [count] of geometry [count][stride].
inline void densities(const float* geometry, int stride, int count, float* density) {
    for (int s = 0; s < count; s += kLanes) {
        const int some = std::min(kLanes, count - s);
        float logarithm[kLanes] = {};
        for (int i = 0; i < some; ++i) logarithm[i] = geometry[(s + i) * stride];
        store(logarithm, exponential(smaller(load(logarithm), splat(kMaxLogDensity))));
        std::copy(logarithm, logarithm + some, density + s);
    }
}

// hidden [kTile][144] whose last 64 hold the rays' shares -> second hidden layer there, and rgb [count][3].
// color1_t is color1 transposed, [3][64].
inline void color_tile(const FieldNetwork& net, const float* color1_t, float* hidden, int count, float* rgb) {
    constexpr int second = kWidth + kGeometry;
    gemm<kWidth>(kTile, hidden + kWidth, kHidden, 1, net.color0, kWidth, kGeometry, hidden + second, kHidden, true);
    rectify(hidden + second, kHidden, kTile);
    alignas(64) float output[kTile * 3];
    for (int s = 0; s < kTile; ++s) {
        const float* row = hidden + s * kHidden + second;
        for (int c = 0; c < 3; ++c) {
            Vec products = {};
            for (int j = 0; j < kWidth; j += kLanes) products += load(row + j) * load(color1_t + c * kWidth + j);
            output[s * 3 + c] = sum(products);
        }
    }
    for (int i = 0; i < kTile * 3; i += kLanes)
        store(output + i, splat(1.f) / (splat(1.f) + exponential(-load(output + i))));
    std::copy(output, output + count * 3, rgb);
}

// Walks the rays as the samples go by.
struct RayCursor {
    const int64_t* offsets;
    int64_t ray;

    RayCursor(const FieldSamples& in, int64_t sample)
        : offsets(in.ray_offsets), ray(std::upper_bound(offsets, offsets + in.rays, sample) - offsets - 1) {}
    // Moves to the ray of `sample`; true when that is another one.
    bool advance(int64_t sample) {
        const int64_t before = ray;
        while (offsets[ray + 1] <= sample) ++ray;
        return ray != before;
    }
};

}  // namespace avatarkit::AK_ISA
