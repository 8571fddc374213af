// Corners and weights of a vector of points in one level of the grid.
#pragma once

#include "common/simd.h"
#include "hash_encoding/hash_encoding.h"

namespace avatarkit::AK_ISA {

typedef uint32_t VecWord __attribute__((vector_size(4 * kLanes)));

// What a vector of points reads: floats offset into the level's table and weight, for 8 corners (x fastest).
struct Corners {
    alignas(64) int32_t offset[8][kLanes];
    alignas(64) float weight[8][kLanes];
};

// `points` are [count][3], count <= kLanes; lanes beyond repeat the last point.
inline void load_points(const float* points, int count, Vec position[3]) {
    alignas(64) float axes[3][kLanes];
    if (count == kLanes) {
        for (int i = 0; i < kLanes; ++i)
            for (int axis = 0; axis < 3; ++axis) axes[axis][i] = points[3 * i + axis];
    } else {
        for (int i = 0; i < kLanes; ++i)
            for (int axis = 0; axis < 3; ++axis) axes[axis][i] = points[3 * (i < count ? i : count - 1) + axis];
    }
    for (int axis = 0; axis < 3; ++axis) position[axis] = smaller(larger(load(axes[axis]), Vec{}), splat(1.f));
}

inline void find_corners(const Vec position[3], const GridLevel& level, uint32_t hash_mask, Corners& out) {
    VecInt low[3];
    Vec share[3][2];
    for (int axis = 0; axis < 3; ++axis) {
        const Vec scaled = position[axis] * splat(static_cast<float>(level.cells));
        // The far face of the cube belongs to the last cell.
        const Vec cell = smaller(__builtin_convertvector(__builtin_convertvector(scaled, VecInt), Vec),
                                 splat(static_cast<float>(level.cells - 1)));
        low[axis] = __builtin_convertvector(cell, VecInt);
        share[axis][1] = scaled - cell;
        share[axis][0] = splat(1.f) - share[axis][1];
    }
    VecWord x[2], y[2], z[2];
    if (level.dense) {
        const uint32_t side = static_cast<uint32_t>(level.cells) + 1;
        x[0] = (VecWord)low[0];
        y[0] = (VecWord)low[1] * side;
        z[0] = (VecWord)low[2] * (side * side);
        x[1] = x[0] + 1;
        y[1] = y[0] + side;
        z[1] = z[0] + side * side;
    } else {
        constexpr uint32_t prime_y = 2654435761u, prime_z = 805459861u;
        x[0] = (VecWord)low[0];
        y[0] = (VecWord)low[1] * prime_y;
        z[0] = (VecWord)low[2] * prime_z;
        x[1] = x[0] + 1;
        y[1] = y[0] + prime_y;
        z[1] = z[0] + prime_z;
    }
    for (int corner = 0; corner < 8; ++corner) {
        const int dx = corner & 1, dy = corner >> 1 & 1, dz = corner >> 2;
        const VecWord index = level.dense ? x[dx] + y[dy] + z[dz] : (x[dx] ^ y[dy] ^ z[dz]) & hash_mask;
        const VecWord offset = index * kFeatures;
        std::memcpy(out.offset[corner], &offset, sizeof offset);
        store(out.weight[corner], share[0][dx] * share[1][dy] * share[2][dz]);
    }
}

// Features of lane i, read from the level's table.
inline Vec4 interpolate(const float* table, const Corners& corners, int i) {
    Vec4 value = {};
#pragma GCC unroll 8
    for (int corner = 0; corner < 8; ++corner)
        value += splat4(corners.weight[corner][i]) * load<Vec4>(table + corners.offset[corner][i]);
    return value;
}

}  // namespace avatarkit::AK_ISA
