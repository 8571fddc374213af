// Volume rendering along rays (avatarkit/ops/composite.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

struct RaySamples {
    const float *density, *rgb, *t;  // [N], [N][3], [N]
    const int64_t* ray_offsets;      // [R + 1]
    int64_t rays;
    float step;
    float minimum_transmittance;  // samples behind less than this neither count nor learn
    bool distortion;
};

struct RaySums {
    float *color, *alpha, *depth;  // [R][3], [R], [R]
    float* weights;                // [N]
    float* distortion;             // [R], left alone unless asked for
};

struct RayGradients {
    const float *color, *alpha, *depth, *distortion;  // like RaySums
};

}  // namespace avatarkit

AK_DECLARE(void composite(const RaySamples& in, const RaySums& out))
// grad_density [N], grad_rgb [N][3], overwritten; `weights` are the forward pass's.
AK_DECLARE(void composite_backward(const RaySamples& in, const float* weights, const RayGradients& gradients,
                                   float* grad_density, float* grad_rgb))
