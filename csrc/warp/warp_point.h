// One point taken back through a displacement volume.
#pragma once

#include <algorithm>

#include "common/simd.h"
#include "warp/warp.h"

namespace avatarkit::AK_ISA {

// `volume` [nodes][4]; nodes beyond the grid are as those on its faces. `point` and `out` may be the same.
inline void warp_point(const WarpGrid& grid, const float* volume, const float* point, float* out) {
    const float scale = 1.f / grid.spacing;
    int64_t cell[3];
    float share[3];
    for (int axis = 0; axis < 3; ++axis) {
        const float at = std::clamp((point[axis] - grid.low[axis]) * scale, 0.f, static_cast<float>(grid.nodes[axis] - 1));
        cell[axis] = std::min(static_cast<int64_t>(at), grid.nodes[axis] - 2);
        share[axis] = at - static_cast<float>(cell[axis]);
    }
    const float* corner = volume + 4 * (cell[0] + grid.nodes[0] * (cell[1] + grid.nodes[1] * cell[2]));
    const int64_t up = 4 * grid.nodes[0], deep = up * grid.nodes[1];
    const auto along = [&](const float* from) {
        const Vec4 a = load<Vec4>(from), b = load<Vec4>(from + 4);
        return a + splat4(share[0]) * (b - a);
    };
    const Vec4 front_low = along(corner), front_high = along(corner + up);
    const Vec4 back_low = along(corner + deep), back_high = along(corner + deep + up);
    const Vec4 front = front_low + splat4(share[1]) * (front_high - front_low);
    const Vec4 back = back_low + splat4(share[1]) * (back_high - back_low);
    const Vec4 move = front + splat4(share[2]) * (back - front);
    for (int axis = 0; axis < 3; ++axis) out[axis] = std::clamp(point[axis] - move[axis], 0.f, 1.f);
}

}  // namespace avatarkit::AK_ISA
