// The radiance field's network (avatarkit/ops/mlp.py), without biases:
//
//   features [inputs] -> density0 -> ReLU [64] -> density1 -> geometry [16]; density = exp(min(geometry[0], 15))
//   geometry [16], harmonics [16] -> color0 -> ReLU [64] -> color1 -> sigmoid -> rgb [3]
//
// Features come level-major: [levels][N][4], up to 16 levels; inputs = 4 levels. Harmonics are one row per ray; samples of ray r are ray_offsets[r] to
// ray_offsets[r + 1], so the rays' share of color0 is worked out once a ray.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

constexpr int kWidth = 64, kGeometry = 16, kHarmonics = 16;
constexpr int kHidden = 2 * kWidth + kGeometry;  // floats kept per sample: both hidden layers, geometry between
constexpr float kMaxLogDensity = 15.f;

struct FieldNetwork {
    const float* density0;  // [inputs][64], like all
    const float* density1;  // [64][16]
    const float* color0;    // [32][64]
    const float* color1;    // [64][3]
    int inputs;             // at most kWidth

    int levels() const { return inputs / 4; }
};

struct FieldSamples {
    int64_t samples, rays;
    const float* features;       // [levels][N][4]
    const float* harmonics;      // [R][16]
    const int64_t* ray_offsets;  // [R + 1]
};

struct FieldGradients {
    float* features;  // [levels][N][4]
    float *density0, *density1, *color0, *color1;
};

}  // namespace avatarkit

// directions [R][3] -> harmonics [R][16].
AK_DECLARE(void spherical_harmonics(const float* directions, int64_t rays, float* harmonics))

// density [N], rgb [N][3]; hidden [N][144] is written unless null.
AK_DECLARE(void field_mlp(const FieldSamples& in, const FieldNetwork& net, float* density, float* rgb, float* hidden))

// Gradients of everything but the harmonics, overwritten: the same bits for any number of threads.
AK_DECLARE(void field_mlp_backward(const FieldSamples& in, const FieldNetwork& net, const float* density,
                                   const float* rgb, const float* hidden, const float* grad_density,
                                   const float* grad_rgb, const FieldGradients& out))
