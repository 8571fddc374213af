// How much a rendered person before a background resembles a picture (avatarkit/ops/resemblance.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

struct PictureShape {
    int64_t height, width;
};

struct ResemblanceWeights {
    float structure, matte;
};

}  // namespace avatarkit

// (1 - s) mean |I - truth| + s (1 - mean SSIM(I, truth)) + m mean |alpha - matte| of I = color + (1 - alpha) behind,
// means weighted by `share` [H][W] whose sum is 1, and its gradient [H][W][4]. splats [H][W][4] premultiplied,
// behind and truth [H][W][3], matte [H][W]. SSIM has an 11 x 11 Gaussian window of deviation 1.5; beyond the edges
// everything is zero. Rows are worked out by one thread each and summed in order: the same bits for any number.
AK_DECLARE(double resemblance(const float* splats, const float* behind, const float* truth, const float* matte,
                              const float* share, const PictureShape& shape, const ResemblanceWeights& weights,
                              float* gradient))
