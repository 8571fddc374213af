// Rays that go through the field a few samples at a time, front to back, so that what lies behind an opaque sample is
// never evaluated.
#pragma once

#include <algorithm>

#include "hash_encoding/encode_block.h"
#include "mlp/mlp_tile.h"
#include "warp/warp_point.h"

namespace avatarkit::AK_ISA {

constexpr int kSlots = 1024;  // rays of a thread under way at a time
constexpr int kWave = 4096;  // samples that go through the field together
constexpr int kFewest = 4, kMost = 16;  // samples of one ray in a wave: more are wasted where the ray ends within

// The places of a wave's samples, axis by axis, [3][kWave].
struct WavePoints {
    Scratch<float> axes;

    WavePoints() : axes(3 * kWave) {}
    void put(int sample, const float* point) {
        for (int axis = 0; axis < 3; ++axis) axes[axis * kWave + sample] = point[axis];
    }
    // Takes the first `count` back through a displacement volume.
    void warp(const WarpGrid& grid, const float* volume, int count) {
        for (int first = 0; first < count; first += kLanes) {
            Vec position[3];
            for (int axis = 0; axis < 3; ++axis) position[axis] = load(axes + axis * kWave + first);
            warp_lanes(grid, volume, position);
            for (int axis = 0; axis < 3; ++axis) store(axes + axis * kWave + first, position[axis]);
        }
    }
    // Those from `first`, clamped to the unit cube; lanes beyond the wave's end hold any numbers.
    void get(int first, Vec position[3]) const {
        for (int axis = 0; axis < 3; ++axis)
            position[axis] = smaller(larger(load(axes + axis * kWave + first), Vec{}), splat(1.f));
    }
};

// Memory that is wanted soon: so many bytes of it are asked for with every vector of points.
struct Ahead {
    const char* at;
    int64_t left, each;

    // For a level's table, while `count` points go through the level before: all of it will be read, in an order that
    // the hardware cannot foresee. Too few points would not pay for it.
    Ahead(const void* table, int64_t bytes, int count)
        : at(static_cast<const char*>(table)), left(count >= kWave / 4 ? bytes : 0),
          each((bytes * kLanes / std::max(count, 1) + 63) / 64 * 64) {}
    void ask() {
        const int64_t some = std::min(each, left);
        for (int64_t i = 0; i < some; i += 64) __builtin_prefetch(at + i, 0, 2);
        at += some;
        left -= some;
    }
};

// Encodes `count` points in one level, whose table is `entries`, into rows [count][64] from the level's column on.
// Not inlined: the compiler would work out every entry's address from two pointers.
template <class Entry, class Feature>
__attribute__((noinline)) void encode_level(const WavePoints& points, int count, const GridLevel& level,
                                            uint32_t hash_mask, const Entry* entries, Ahead ahead, Feature* rows) {
    Corners corners;
    Vec position[3];
    for (int s = 0; s < count; s += kLanes) {
        points.get(s, position);
        find_corners(position, level, hash_mask, corners);
        ahead.ask();
        const int some = std::min(kLanes, count - s);
        for (int i = 0; i < some; ++i) store(rows + (s + i) * kWidth, interpolate(entries, corners, i));
    }
}

// Encodes `count` points into rows [count][64], level by level so that one level's table is in use at a time.
template <class Entry, class Feature>
inline void encode_rows(const WavePoints& points, int count, const GridShape& grid, const Entry* table,
                        Feature* rows) {
    const auto begin = [&](int64_t l) {
        return table + (l < grid.levels ? static_cast<int64_t>(grid.level[l].first) * kFeatures : grid.table);
    };
    for (int64_t l = 0; l < grid.levels; ++l) {
        const int64_t next = std::min(l + 1, grid.levels - 1);
        const Ahead ahead(begin(next), l + 1 < grid.levels ? (begin(next + 1) - begin(next)) * sizeof(Entry) : 0, count);
        encode_level(points, count, grid.level[l], grid.hash_mask, begin(l), ahead, rows + l * kFeatures);
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
