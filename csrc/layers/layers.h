// Sheets of textured triangles over a plate, in one pass over strips of rows: a frame of a photo that moves.
//
// Shapes: H x W pixels; a sheet has V vertices, F triangles and a texture of TH x TW texels; everything contiguous, row
// major, colors 0 to 255, RGB times alpha and alpha. Pixel and texel (x, y) have their centers at (x + 0.5, y + 0.5).
// Within a sheet the nearest triangle is seen (both windings, linear in the image, of equally near ones the first);
// between sheets the later one lies above. Lookups are bilinear, clamped at the texture's border.
// Every function gives the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace avatarkit {

struct Sheet {
    const uint8_t* texture;    // [TH, TW, 4]
    int64_t rows, columns;
    const int32_t* triangles;  // [F, 3]
    int64_t faces;
    const float* places;       // [V, 2] where in the texture the vertices lie, texels
    const float* vertices;     // [V, 3] pixels and depth, which grows away from the viewer
    float opacity;             // factor on the texture's alpha
    bool soft;                 // the outline fades over a pixel on its inner side
    float fold;                // texels between neighboring pixels from which both are softened; 0: never
};

// Where the place that a traced sheet shows at a pixel lies up to `near` pixels from the pixel itself, `still` is 255;
// from `gone` on it is 0, and it falls linearly between.
struct Trace {
    int64_t sheet;  // index of the traced sheet, -1: none
    float near, gone;
    uint8_t* still;  // [H, W], may be null
    uint8_t* alpha;  // [H, W] the traced sheet's own alpha, may be null
};

}  // namespace avatarkit

// out [H, W, 3] = plate [H, W, 4] (its alpha is not looked at) under all sheets in their order, rounded once.
AK_DECLARE(void compose_layers(const uint8_t* plate, int64_t height, int64_t width,
                               const std::vector<Sheet>& sheets, const Trace& trace, uint8_t* out))

// image [H, W, 3] += lost [3, H, W] * still [H, W] / 255 in place, clamped to 0..255.
AK_DECLARE(void restore_lost(uint8_t* image, const int16_t* lost, const uint8_t* still, int64_t height, int64_t width))
