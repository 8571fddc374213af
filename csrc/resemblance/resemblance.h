// How much a rendered person before a background resembles a picture (avatarkit/ops/resemblance.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

// Floats in [0, 1], or bytes in [0, 255]; the other is null.
struct Samples {
    const float* floats;
    const uint8_t* bytes;
};

struct ResemblancePictures {
    int64_t height, width;
    const float* splats;  // [H][W][4] color times alpha, and alpha
    const float* behind;  // [H][W][3]
    Samples truth;        // [H][W][3]
    Samples matte;        // [H][W]
    const float* share;   // [H][W] weights whose sum is 1
};

struct ResemblanceWeights {
    float structure, matte;
};

}  // namespace avatarkit

// (1 - s) mean |I - truth| + s (1 - mean SSIM(I, truth)) + m mean |alpha - matte| of I = color + (1 - alpha) behind,
// means weighted by `share`, and its gradient [H][W][4]. SSIM has an 11 x 11 Gaussian window of deviation 1.5; beyond
// the edges everything is zero. Rows do not depend on their thread and are summed in order: the same bits for any number.
AK_DECLARE(double resemblance(const ResemblancePictures& pictures, const ResemblanceWeights& weights, float* gradient))
