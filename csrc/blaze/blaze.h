// Networks of BlazeBlocks (Bazarevsky et al. 2019), of which mediapipe's face mesh is one: one picture, one thread.
//
// Shapes: activations [H, W, C] floats, channels last, contiguous, C a multiple of 16. A 3 x 3 window of stride 1 reaches
// a pixel beyond the picture on every side, one of stride 2 (H and W even) a pixel beyond its right and lower border;
// there the picture is 0. PReLU is v -> v for v > 0, slope v else.
// Every function gives the same bits whatever else runs.
#pragma once
#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace avatarkit {

// out = PReLU(pointwise(depthwise(x)) + shortcut). The shortcut is x, with stride 2 the largest of each 2 x 2 pixels,
// followed by channels of 0. Stride 0: out = PReLU(pointwise(x)).
struct BlazeBlock {
    int64_t in, out, stride;
    const float* weights;  // depthwise [3, 3, in] and its bias [in] (not with stride 0), pointwise [in, out], bias, slopes
};

}  // namespace avatarkit

// out [H', W', C'] = the blocks, one after the other, of x [H, W, C].
AK_DECLARE(void blaze_chain(const float* x, int64_t height, int64_t width, const std::vector<BlazeBlock>& blocks,
                            float* out))

// out [H', W', C'] = the blocks of a first picture [H / 2, W / 2, C]: PReLU of a 3 x 3 convolution of stride 2 of
// image [H, W, 3] / 255, whose `weights` are [3, 3, 3, C] (row, column, color), bias [C], slopes [C].
AK_DECLARE(void blaze_begin(const uint8_t* image, int64_t height, int64_t width, int64_t channels, const float* weights,
                            const std::vector<BlazeBlock>& blocks, float* out))

// out [side, side, C]: x [H, W, C] at `matrix` [2, 3] of each pixel's center, bilinear; centers lie at integer + 0.5.
// Where that is not between the centers of x, 0.
AK_DECLARE(void blaze_sample(const float* x, int64_t height, int64_t width, int64_t channels, const float* matrix,
                             int64_t side, float* out))
