// Uniform ray marching through the occupied cells of the unit cube (avatarkit/ops/march.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

struct MarchInput {
    const float *origins, *directions;  // [R][3], directions of unit length
    int64_t rays;
    const uint8_t* bitfield;  // [cells^3 / 8], x fastest, least significant bit first
    int64_t cells;
    float step;
    int64_t max_samples;  // a ray
    int64_t seed;         // -1: samples in the middle of their steps
};

}  // namespace avatarkit

// ray_offsets [R + 1]: where every ray's samples begin.
AK_DECLARE(void march_count(const MarchInput& in, int64_t* ray_offsets))
// points [N][3], t [N] for those offsets.
AK_DECLARE(void march_fill(const MarchInput& in, const int64_t* ray_offsets, float* points, float* t))
