// Vertex normals of a triangle mesh (avatarkit/ops/normals.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

struct NormalsShape {
    int64_t vertices, faces;
};

// The corners at every vertex: those of vertex v are corners[first[v]] to corners[first[v + 1]], in rising order.
struct Incidence {
    const int32_t* first;    // [V + 1]
    const int32_t* corners;  // [3F], 3 f + i is corner i of triangle f
};

}  // namespace avatarkit

// vertices [V][3], triangles [F][3] -> normals [V][3]: the sum of the cross products of the triangles around a vertex,
// which weighs them by area, and of that the unit vector (0 where the sum is shorter than 1e-20). sums [V][3] and the
// length go to backward.
AK_DECLARE(void vertex_normals(const float* vertices, const int32_t* triangles, const NormalsShape& shape,
                               const Incidence& around, float* sums, float* normals))

// grad_normals [V][3] -> grad_vertices [V][3], overwritten. Every vertex gathers from its own triangles in their order:
// the same bits for any number of threads.
AK_DECLARE(void vertex_normals_backward(const float* vertices, const int32_t* triangles, const NormalsShape& shape,
                                        const Incidence& around, const float* sums, const float* grad_normals,
                                        float* grad_vertices))
