// Groups of rays that go through the field a few samples at a time, front to back, so that what lies behind an opaque
// sample is never evaluated.
#pragma once

#include <algorithm>

#include "hash_encoding/encode_block.h"
#include "mlp/mlp_tile.h"

namespace avatarkit::AK_ISA {

constexpr int kGroupRays = 512;
constexpr int kWave = 2048;  // samples of a group that go through the field together
constexpr int kFewest = 4, kMost = 16;  // samples of one ray in a wave: more are wasted where the ray ends within

// Encodes points [count][3] into rows [count][64], level by level so that one level's table is in use at a time.
inline void encode_rows(const float* points, int count, const GridShape& grid, const float* table, float* rows) {
    Corners corners;
    Vec position[3];
    for (int64_t l = 0; l < grid.levels; ++l) {
        const GridLevel& level = grid.level[l];
        const float* entries = table + static_cast<int64_t>(level.first) * kFeatures;
        for (int s = 0; s < count; s += kLanes) {
            const int some = std::min(kLanes, count - s);
            load_points(points + s * 3, some, position);
            find_corners(position, level, grid.hash_mask, corners);
            for (int i = 0; i < some; ++i)
                store(rows + (s + i) * kWidth + l * kFeatures, interpolate(entries, corners, i));
        }
    }
}

// Densities of rows [count][64], whose buffer has room for a whole tile more; hidden is [kTile][kHidden].
inline void wave_densities(const FieldNetwork& net, float* rows, int count, float* hidden, float* density) {
    std::fill(rows + count * kWidth, rows + (count + kTile) * kWidth, 0.f);
    for (int first = 0; first < count; first += kTile) {
        density_tile(net, rows + first * kWidth, hidden);
        densities(hidden, std::min(kTile, count - first), density + first);
    }
}

// density [kWave] of `count` samples -> what passes each of them.
inline void wave_passing(float* density, int count, float step) {
    for (int s = 0; s < count; s += kLanes) {
        if (count - s < kLanes) std::fill(density + count, density + std::min(s + kLanes, kWave), 0.f);
        store(density + s, exponential(load(density + s) * splat(-step)));
    }
}

}  // namespace avatarkit::AK_ISA
