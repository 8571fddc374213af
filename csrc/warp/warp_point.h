// Points taken back through a displacement volume.
#pragma once

#include "common/simd.h"
#include "warp/warp.h"

namespace avatarkit::AK_ISA {

// A vector of points, axis by axis, taken back in place. `volume` [nodes][4]; nodes beyond the grid are as those on its
// faces.
inline void warp_lanes(const WarpGrid& grid, const float* volume, Vec position[3]) {
    const int32_t stride[3] = {4, static_cast<int32_t>(4 * grid.nodes[0]),
                               static_cast<int32_t>(4 * grid.nodes[0] * grid.nodes[1])};
    alignas(64) int32_t corner[kLanes];
    alignas(64) float share[3][kLanes], moves[3][kLanes];
    VecInt first = {};
    for (int axis = 0; axis < 3; ++axis) {
        const float most = static_cast<float>(grid.nodes[axis] - 1);
        const Vec at = smaller(larger((position[axis] - splat(grid.low[axis])) * splat(1.f / grid.spacing), Vec{}), splat(most));
        const VecInt cell = __builtin_convertvector(smaller(at, splat(most - 1.f)), VecInt);
        store(share[axis], at - __builtin_convertvector(cell, Vec));
        first += cell * stride[axis];
    }
    std::memcpy(corner, &first, sizeof corner);
    for (int i = 0; i < kLanes; ++i) {
        const float* from = volume + corner[i];
        const Vec4 x = splat4(share[0][i]), y = splat4(share[1][i]), z = splat4(share[2][i]);
        const auto along = [&](const float* low) {
            const Vec4 a = load<Vec4>(low), b = load<Vec4>(low + 4);
            return a + x * (b - a);
        };
        const Vec4 front_low = along(from), front_high = along(from + stride[1]);
        const Vec4 back_low = along(from + stride[2]), back_high = along(from + stride[2] + stride[1]);
        const Vec4 front = front_low + y * (front_high - front_low), back = back_low + y * (back_high - back_low);
        const Vec4 move = front + z * (back - front);
        for (int axis = 0; axis < 3; ++axis) moves[axis][i] = move[axis];
    }
    for (int axis = 0; axis < 3; ++axis)
        position[axis] = smaller(larger(position[axis] - load(moves[axis]), Vec{}), splat(1.f));
}

}  // namespace avatarkit::AK_ISA
