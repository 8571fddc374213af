// A displacement field between scattered anchors, on a grid of nodes, and points taken back through it
// (avatarkit/ops/warp.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

// A grid of nodes `spacing` apart, x fastest; node (0, 0, 0) lies at `low`. At least two along every axis.
struct WarpGrid {
    float low[3], spacing;
    int64_t nodes[3];  // along x, y, z
};

struct WarpAnchors {
    const float *places, *moves;  // [A][3] where the anchors are now, and how far they have come
    int64_t count;
    float softening;  // added to squared distances
    float still;      // weight of not moving at all
};

}  // namespace avatarkit

// volume [nodes][4]: mean of the anchors' moves with the weights 1 / (squared distance + softening)^2; the fourth
// number is zero.
AK_DECLARE(void warp_volume(const WarpAnchors& anchors, const WarpGrid& grid, float* volume))

// out [count][3]: points minus the volume's move there, interpolated trilinearly, inside the unit cube.
AK_DECLARE(void warp_points(const float* points, int64_t count, const WarpGrid& grid, const float* volume, float* out))
