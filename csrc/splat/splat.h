// Gaussian splats projected and blended front to back (avatarkit/ops/splat.py), and their residuals.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "anchors/anchors.h"

namespace avatarkit {

// N Gaussians in camera space (OpenCV, meters) and the camera. What is skipped: splats that are not finite, nearer
// than kNear, or of an opacity below kLeastAlpha; contributions of alpha below kLeastAlpha; what lies behind a
// transmittance below kLeastTransmittance. Opacities above kLargestOpacity count as that.
struct SplatScene {
    const float *mean, *covariance, *color, *opacity;  // [N][3], [N][6] (xx xy xz yy yz zz), [N][3], [N]; or null,
    Rigged rigged;                                     // and these instead, whose colors are kept within [0, 1]
    int64_t count;
    float fx, fy, cx, cy;
    int height, width;
    float dilation;  // square pixels, added to both variances in the image
};

constexpr float kNear = 0.01f, kLeastAlpha = 1.f / 255.f, kLargestOpacity = 0.99f, kLeastTransmittance = 1e-4f;
constexpr float kFaintTransmittance = 1.f / 512.f;  // the same for bytes: half a level at most
constexpr float kMargin = 0.3f;  // half image sizes beyond the image, up to which the perspective is linearized

// A splat in the image: alpha = 2^(level + aa dx^2 + ab dx dy + bb dy^2). One line of the cache.
struct alignas(64) SplatRecord {
    float x, y;        // center, pixels
    float aa, ab, bb;  // -log2(e) / 2 times the inverse covariance (ab: twice the mixed entry)
    float level;       // log2 of the opacity
    float red, green, blue;
    float area;                  // aa bb - ab^2 / 4
    float reach_x, reach_y;      // pixels: half sizes of the ellipse of alpha = kLeastAlpha
    int32_t row_begin, row_end;  // rows of tiles
    int32_t unused[2];           // fill the line
};

// Of all N splats, shaped like their values: `gaussians` [14][N] of rigged ones, else the others.
struct SplatGradients {
    float *mean, *covariance, *color, *opacity;
    float* gaussians;
};

// Bodies that splats belong to in part, and what pulls at these: `wrench` [S][6] is, of each body, the sum over splats of
// share [S][N] times (g, mean x g), g being the gradient by the mean. None where `count` is 0.
struct SplatBodies {
    const float* share;
    int64_t count;
    float* wrench;
};

// Memory of one kind, kept from frame to frame.
struct SplatBuffer {
    void* data = nullptr;
    int64_t bytes = 0;
    SplatBuffer() = default;
    SplatBuffer(const SplatBuffer&) = delete;
    SplatBuffer& operator=(const SplatBuffer&) = delete;
    ~SplatBuffer() { std::free(data); }
};

// A scene arranged for an image: which splats each tile shows, nearest first.
struct SplatFrame {
    int64_t visible = 0;
    int across = 0, down = 0;         // tiles
    SplatRecord* splats = nullptr;    // [N] in the scene's order, those that are seen
    int32_t* seen = nullptr;          // [N]: all bits, or none
    uint32_t* tiles = nullptr;        // [down * across + 1]: where the lists in `entries` begin, and the end
    uint32_t* entries = nullptr;      // of the scene, nearer ones first
    SplatBuffer records, flags, keys, rows, starts, spans, counts, lists, gradients, wrenches;
};

// Linear residuals of N Gaussians' channels, [K][R][N] of one of three types.
struct SplatResiduals {
    const float* floats;
    const uint16_t* halves;
    const int8_t* bytes;
    const float* scale;  // [K][R] or null
    int64_t shapes, channels, count;
};

}  // namespace avatarkit

AK_DECLARE(void splat_arrange(const SplatScene& scene, SplatFrame& frame))
// image [H][W][4]: color times alpha, and alpha, of an arranged frame.
AK_DECLARE(void splat_image(const SplatScene& scene, const SplatFrame& frame, float* image))
// pixels [H][W][3]: the same over a background [H][W][3], rounded; what lies behind kFaintTransmittance is skipped.
AK_DECLARE(void splat_compose(const SplatScene& scene, const SplatFrame& frame, const uint8_t* background,
                              uint8_t* pixels))
// Gradients of all N splats from `image` and its gradient [H][W][4], overwritten. Every thread sums up its rows of tiles;
// the sums are added in the order of the threads.
AK_DECLARE(void splat_backward(const SplatScene& scene, SplatFrame& frame, const float* image,
                               const float* grad_image, const SplatGradients& gradients, const SplatBodies& bodies))
// out [C][N] = base [C][N], plus sum_k coefficients_k residual_k in the first R channels.
AK_DECLARE(void splat_blend(const float* base, int64_t channels, const SplatResiduals& residuals,
                            const float* coefficients, float* out))
// grad_coefficients [K] = sum over channels and Gaussians of residual_k times gradient [C][N].
AK_DECLARE(void splat_blend_coefficients(const SplatResiduals& residuals, const float* gradient,
                                         float* grad_coefficients))
