// The edges of triangles as rasterizers see them: shared by csrc/raster and csrc/layers.
#pragma once

#include <cfloat>

#include "common/isa.h"

namespace avatarkit::AK_ISA {

// An edge as seen from inside its triangle. It always starts at the vertex of the lower index, so that two triangles
// that share it compute values that are exact negatives of each other: no cracks and no pixel drawn twice.
struct Edge {
    float x, y, dx, dy, threshold;

    Edge() = default;
    Edge(const float* a, const float* b, bool ascending, float orientation) {
        const float* lo = ascending ? a : b;
        const float* hi = ascending ? b : a;
        const float sign = ascending ? orientation : -orientation;
        x = lo[0];
        y = lo[1];
        dx = sign * (hi[0] - lo[0]);
        dy = sign * (hi[1] - lo[1]);
        threshold = sign > 0 ? 0.f : FLT_MIN;
    }
};

inline float signed_area(const float* a, const float* b, const float* c) {
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

}  // namespace avatarkit::AK_ISA
