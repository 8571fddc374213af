#include "normals/normals.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr float kShortest = 1e-20f;

inline void cross(const float* a, const float* b, float* out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

}  // namespace

void vertex_normals(const float* vertices, const int32_t* triangles, const NormalsShape& shape,
                    const Incidence& around, float* sums, float* normals) {
    const int threads = thread_count();
    Scratch<float> area(shape.faces * 3);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t f = 0; f < shape.faces; ++f) {
            const float* a = vertices + 3 * static_cast<int64_t>(triangles[3 * f]);
            const float* b = vertices + 3 * static_cast<int64_t>(triangles[3 * f + 1]);
            const float* c = vertices + 3 * static_cast<int64_t>(triangles[3 * f + 2]);
            const float u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
            const float v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
            cross(u, v, area + 3 * f);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < shape.vertices; ++i) {
            float total[3] = {0.f, 0.f, 0.f};
            for (int32_t k = around.first[i]; k < around.first[i + 1]; ++k)
                for (int axis = 0; axis < 3; ++axis) total[axis] += area[around.corners[k] / 3 * int64_t{3} + axis];
            const float length = std::sqrt(total[0] * total[0] + total[1] * total[1] + total[2] * total[2]);
            const float scale = length > kShortest ? 1.f / length : 0.f;
            for (int axis = 0; axis < 3; ++axis) {
                sums[3 * i + axis] = total[axis];
                normals[3 * i + axis] = total[axis] * scale;
            }
        }
    }
}

void vertex_normals_backward(const float* vertices, const int32_t* triangles, const NormalsShape& shape,
                             const Incidence& around, const float* sums, const float* grad_normals,
                             float* grad_vertices) {
    const int threads = thread_count();
    Scratch<float> to_sums(shape.vertices * 3), to_corners(shape.faces * 9);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < shape.vertices; ++i) {
            const float *s = sums + 3 * i, *g = grad_normals + 3 * i;
            const float length = std::sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
            const float scale = length > kShortest ? 1.f / length : 0.f;
            const float along = (s[0] * g[0] + s[1] * g[1] + s[2] * g[2]) * scale * scale;
            for (int axis = 0; axis < 3; ++axis) to_sums[3 * i + axis] = (g[axis] - along * s[axis]) * scale;
        }
        // Of n = (b - a) x (c - a): the gradients of b and c are (c - a) x g and g x (b - a), that of a their negative sum.
#pragma omp for schedule(static)
        for (int64_t f = 0; f < shape.faces; ++f) {
            const int32_t* t = triangles + 3 * f;
            const float *a = vertices + 3 * static_cast<int64_t>(t[0]), *b = vertices + 3 * static_cast<int64_t>(t[1]),
                        *c = vertices + 3 * static_cast<int64_t>(t[2]);
            float g[3], u[3], v[3];
            for (int axis = 0; axis < 3; ++axis) {
                g[axis] = to_sums[3 * static_cast<int64_t>(t[0]) + axis] + to_sums[3 * static_cast<int64_t>(t[1]) + axis] +
                          to_sums[3 * static_cast<int64_t>(t[2]) + axis];
                u[axis] = b[axis] - a[axis];
                v[axis] = c[axis] - a[axis];
            }
            float* out = to_corners + 9 * f;
            cross(v, g, out + 3);
            cross(g, u, out + 6);
            for (int axis = 0; axis < 3; ++axis) out[axis] = -out[3 + axis] - out[6 + axis];
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < shape.vertices; ++i) {
            float total[3] = {0.f, 0.f, 0.f};
            for (int32_t k = around.first[i]; k < around.first[i + 1]; ++k)
                for (int axis = 0; axis < 3; ++axis) total[axis] += to_corners[3 * int64_t{around.corners[k]} + axis];
            std::copy(total, total + 3, grad_vertices + 3 * i);
        }
    }
}

}  // namespace avatarkit::AK_ISA
