// Triangle meshes to pixels: visibility, attribute interpolation, texture lookup, silhouette edges.
//
// Shapes: B images, V vertices, F triangles, H x W pixels, C channels; everything contiguous, row major.
// Pixel (x, y) has its center at (x + 0.5, y + 0.5). vertices [B, V, 3] hold x and y in pixels and the depth z.
// With perspective, attributes are linear over the surface in space (barycentrics corrected by 1 / z) and a
// triangle with any z <= 0 is dropped (there is no clipping); without, they are linear in the image.
// Both windings are drawn. A pixel center on a shared edge belongs to exactly one of the two triangles.
// Every function gives the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace avatarkit {

struct RasterShape {
    int64_t images, vertices, faces, height, width;
};

// Two neighboring pixels between which an outline passes.
struct SilhouettePair {
    int64_t near, far;      // flat pixel indices [B, H, W]: the side of the nearer surface, and its neighbor
    int64_t first, second;  // vertices of the outline's edge (without the image's offset)
};

}  // namespace avatarkit

// face [B, H, W] (-1: empty), barycentric [B, H, W, 3] and depth [B, H, W] (0 where empty) of the nearest triangle;
// of equally near ones the first.
AK_DECLARE(void rasterize_forward(const float* vertices, const int32_t* triangles, const RasterShape& shape,
                                  bool perspective, int32_t* face, float* barycentric, float* depth))

// grad_vertices [B, V, 3], overwritten, from the gradients of barycentric and depth (null: none).
AK_DECLARE(void rasterize_backward(const float* vertices, const int32_t* triangles, const RasterShape& shape,
                                   bool perspective, const int32_t* face, const float* barycentric,
                                   const float* grad_barycentric, const float* grad_depth, float* grad_vertices))

// out [B, H, W, C] = sum of attributes [V, C] (or [B, V, C] when per_image) weighted by barycentric; 0 where empty.
AK_DECLARE(void interpolate_forward(const float* attributes, const int32_t* triangles, const RasterShape& shape,
                                    int64_t channels, bool per_image, const int32_t* face,
                                    const float* barycentric, float* out))

// grad_attributes (shape of attributes) and grad_barycentric [B, H, W, 3], both overwritten; either may be null.
AK_DECLARE(void interpolate_backward(const float* attributes, const int32_t* triangles, const RasterShape& shape,
                                     int64_t channels, bool per_image, const int32_t* face,
                                     const float* barycentric, const float* grad_out, float* grad_attributes,
                                     float* grad_barycentric))

// Bilinear lookup in texture [TH, TW, C] at uv [N, 2] (v up, texel centers at integer + 0.5, clamped at the border);
// out [N, C] is 0 where face [N] (may be null) is negative.
AK_DECLARE(void texture_forward(const float* texture, int64_t rows, int64_t columns, int64_t channels,
                                const float* uv, const int32_t* face, int64_t samples, float* out))

// grad_texture and grad_uv, both overwritten; either may be null.
AK_DECLARE(void texture_backward(const float* texture, int64_t rows, int64_t columns, int64_t channels,
                                 const float* uv, const int32_t* face, int64_t samples, const float* grad_out,
                                 float* grad_texture, float* grad_uv))

// All silhouette pairs in row-major order of their upper left pixel. opposite [F, 3]: the vertex across the edge that
// faces corner i, -1 at a border. An edge is an outline when nothing lies across it or its neighbor folds back, whether
// or not its own triangles show at a pixel center: those of a fine mesh hardly ever do. It counts between two pixels
// when it lies before what the farther one shows; of several the outermost does.
AK_DECLARE(void silhouette_pairs(const float* vertices, const int32_t* triangles, const int32_t* opposite,
                                 const RasterShape& shape, const int32_t* face, const float* depth,
                                 std::vector<SilhouettePair>& pairs))
