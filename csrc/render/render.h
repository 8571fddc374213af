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

// The samples of rays that anything is seen of (avatarkit/ops/visible.py).
namespace avatarkit {

struct VisibleInput {
    MarchInput rays;            // those of one image together
    const int64_t* image_rays;  // [images + 1]: where each image's rays begin
    int64_t images;
    float minimum_transmittance;
    const float* volumes;  // displacement of every image, `volume_floats` apart, or null
    int64_t volume_floats;
    WarpGrid warp;
};

struct VisibleOutput {
    float *points, *t;   // [N][3], [N] along the rays
    float* origins;      // [N][3] where the field was asked
    float* features;     // [levels][N][4] what was read there
    int64_t levels;
};

struct VisibleSample {
    float features[kWidth];
    float origin[3], t;
    int64_t ray;
};

// Samples of one group of rays, in the order in which they were found: those of a ray near to far, among others'.
struct VisibleList {
    VisibleSample* samples = nullptr;
    int64_t count = 0, capacity = 0;

    // Room for `more` samples behind those there are.
    VisibleSample* reserve(int64_t more);
};

struct VisibleGroup {
    int64_t image, begin, end;  // rays
};

// What is found before it is known how much it is: between find_visible and fill_visible.
class VisibleSamples {
  public:
    VisibleSamples() = default;
    ~VisibleSamples();
    VisibleSamples(const VisibleSamples&) = delete;
    VisibleSamples& operator=(const VisibleSamples&) = delete;
    void resize(int64_t groups);
    int64_t groups() const { return count_; }
    VisibleGroup& group(int64_t index) { return groups_[index]; }
    VisibleList& list(int64_t index) { return lists_[index]; }

  private:
    void clear();

    VisibleGroup* groups_ = nullptr;
    VisibleList* lists_ = nullptr;
    int64_t count_ = 0;
};

}  // namespace avatarkit

// ray_offsets [R + 1]: where every ray's visible samples begin.
AK_DECLARE(void find_visible(const VisibleInput& in, const GridShape& grid, const float* tables,
                             const FieldNetwork& net, int64_t* ray_offsets, VisibleSamples& found))
AK_DECLARE(void fill_visible(const MarchInput& rays, const int64_t* ray_offsets, VisibleSamples& found,
                             const VisibleOutput& out))
