// A surface's color from its features by two layers of sines (avatarkit/ops/sines.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

constexpr int kSineWidth = 64, kSineLevels = 12, kSineExtra = 16;  // inputs: 12 levels x 4 features, then 16 others

struct SineSamples {
    const float* features;  // [12][N][4]
    const float* extra;     // [N][16]
    int64_t count;
};

struct SineNetwork {
    const float *weight0, *bias0;  // [64][64] (inputs x outputs), [64]
    const float *weight1, *bias1;
    const float *weight2, *bias2;  // [64][3], [3]
};

struct SineGradients {  // all overwritten
    float *features, *extra, *weight0, *bias0, *weight1, *bias1, *weight2, *bias2;
};

}  // namespace avatarkit

// rgb [N][3] = sigmoid(sin(sin(x W0 + b0) W1 + b1) W2 + b2); phases [N][128], the arguments of the sines, for backward
// (may be null).
AK_DECLARE(void sine_mlp(const SineSamples& in, const SineNetwork& net, float* rgb, float* phases))

// From grad_rgb [N][3]. Samples are dealt out in a fixed number of parts, whose sums are added in their order: the same
// bits for any number of threads.
AK_DECLARE(void sine_mlp_backward(const SineSamples& in, const SineNetwork& net, const float* rgb, const float* phases,
                                  const float* grad_rgb, const SineGradients& out))
