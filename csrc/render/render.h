// Inference, fused from marching to compositing (avatarkit/ops/render.py, occupancy.py): a group of rays stays in
// one thread's cache from end to end.
#pragma once

#include <cstdint>

#include "common/isa.h"
#include "hash_encoding/hash_encoding.h"
#include "march/march.h"
#include "mlp/mlp.h"
#include "warp/warp.h"

namespace avatarkit {

struct RenderOptions {
    float minimum_transmittance;  // a ray ends where less than this passes
    bool fast;                    // tables in half precision, products of 16-bit integers, faint samples without color
    const float* volume;          // displacement that points are taken back through before the field, or null
    WarpGrid warp;                // where it lies
};

struct RenderOutput {
    float *color, *alpha, *depth;  // [R][3], [R], [R]
};

}  // namespace avatarkit

// table [M] of the image.
AK_DECLARE(void render_rays(const MarchInput& rays, const GridShape& grid, const float* table, const FieldNetwork& net,
                            const RenderOptions& options, const RenderOutput& out))

// density [N] of points, with tables [images][M]; of the network only the two density matrices are read.
AK_DECLARE(void density_at(const EncodeInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                           float* density))

// Samples of the rays that anything is seen of.
namespace avatarkit {
struct TruncateInput {
    const float* points;           // [N][3]
    const int64_t* ray_offsets;    // [R + 1]
    const int64_t* image_offsets;  // [images + 1], each one of ray_offsets
    int64_t rays, images;
    float step, minimum_transmittance;
};
}  // namespace avatarkit

// kept [R]: how many samples of each ray, from its beginning, less than `minimum_transmittance` has not yet hidden.
AK_DECLARE(void truncate_rays(const TruncateInput& in, const GridShape& grid, const float* tables,
                              const FieldNetwork& net, int64_t* kept))
