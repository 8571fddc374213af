// Small pictures painted into a frame inside polygons with soft edges: the eyes, lids and mouth of a moving photo.
//
// Shapes: frame [H, W, 3] bytes, painted in place; a picture [h, w, 4] floats, colors 0 to 255 (not times alpha) and
// alpha 0 to 1; everything contiguous, row major. Pixel and texel (x, y) have their centers at (x + 0.5, y + 0.5). Maps
// [2, 3] are affine; lookups are bilinear, clamped at the picture's border. A mask is the share of each pixel inside a
// polygon (even-odd, exact along x on four lines a row), under a Gaussian of `soft` pixels that ends after 3 `soft`, in
// the polygon's box grown by `margin` pixels and cut by the frame. Polygons that are not finite or outside paint nothing.
#pragma once
#include <cstdint>
#include <vector>

#include "common/isa.h"

namespace avatarkit {

struct Frame {
    uint8_t* pixels;  // [H, W, 3]
    int64_t height, width;
};

struct Polygon {
    const float* points;  // [P, 2]
    int64_t count;
    float soft;
    int64_t margin;
};

struct Picture {
    const float* texels;  // [h, w, 4]
    int64_t rows, columns;
    const float* map;     // [2, 3] from the frame's pixels to texels
};

// Two lines [2, K, 2], the upper one first, in the frame's pixels. They are heights over the first of the coordinates to
// which `axes` [2, 3] take pixels; their points are taken there and sorted.
struct Lines {
    const float* axes;
    const float* both;
    int64_t count;
};

struct Shade {
    float soft, strength;  // strength 0: none
};

// The white of an eye hangs on its lids, the iris on its corners: see avatarkit/ops/patches.py.
struct Eyeball {
    Picture white, iris;  // their maps: from the eye's coordinates to texels
    float shift[2];       // of the iris, in the eye's coordinates
    float level;          // brightness of a white in full light
    Lines rest;           // the lids' margins when the eye was pictured
};

}  // namespace avatarkit

// Lay `pictures`, the later over the earlier, into the polygon as far as `opacity` says. With `fade`, opacity grows
// from its upper line to its lower one: smoothstep((1 - up) / 0.7), up = (lower - y) / (lower - upper). With `shade`,
// light is 1 - strength clip(1 - 1.15 min(m, m below), 0, 1), m the mask under another Gaussian, m below that of the
// pixel round(soft) rows above.
AK_DECLARE(void paint_pictures(const Frame& frame, const Polygon& polygon, const std::vector<Picture>& pictures,
                               float opacity, const Lines* fade, const Shade& shade))

// Paint an eyeball into the polygon; `lids` are the margins now, as many points as at rest.
AK_DECLARE(void paint_eyeball(const Frame& frame, const Polygon& polygon, const Eyeball& eye, const Lines& lids))

// A line [K, 2] of `color` [3] and `thickness`, under a Gaussian of 0.6 pixels, with a fringe `length` pixels below that
// thins out, and thinner towards the line's last point.
AK_DECLARE(void paint_lashes(const Frame& frame, const float* line, int64_t count, const float* color, float thickness,
                             int64_t length, float opacity))
