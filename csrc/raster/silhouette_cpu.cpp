#include <cmath>

#include "raster/raster.h"

namespace avatarkit::AK_ISA {
namespace {

float side(const float* a, const float* b, const float* p) {
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
}

// Does the outline of triangle f cross the segment of unit length from (x, y) along axis (0: x, 1: y)?
bool crossing(const float* points, const int32_t* triangles, const int32_t* opposite, int32_t f, float x, float y,
              int axis, SilhouettePair& pair) {
    const int32_t* t = triangles + 3 * static_cast<int64_t>(f);
    const float origin[2] = {x, y};
    const int along = axis, across = 1 - axis;
    for (int i = 0; i < 3; ++i) {
        const int32_t first = t[(i + 1) % 3], second = t[(i + 2) % 3];
        const float* a = points + 3 * static_cast<int64_t>(first);
        const float* b = points + 3 * static_cast<int64_t>(second);
        // Steep edges answer to horizontal neighbors, flat ones to vertical neighbors: each is blended once.
        if (std::fabs(b[across] - a[across]) < std::fabs(b[along] - a[along])) continue;
        const float da = a[across] - origin[across], db = b[across] - origin[across];
        if ((da < 0) == (db < 0)) continue;
        const float at = a[along] - origin[along] - da * (b[along] - a[along]) / (db - da);
        if (!(at >= 0 && at <= 1)) continue;
        const int32_t o = opposite[3 * static_cast<int64_t>(f) + i];
        const float* own = points + 3 * static_cast<int64_t>(t[i]);
        if (o >= 0 && (side(a, b, own) > 0) != (side(a, b, points + 3 * static_cast<int64_t>(o)) > 0)) continue;
        pair.first = first;
        pair.second = second;
        return true;
    }
    return false;
}

}  // namespace

void silhouette_pairs(const float* vertices, const int32_t* triangles, const int32_t* opposite,
                      const RasterShape& shape, const int32_t* face, const float* depth,
                      std::vector<SilhouettePair>& pairs) {
    const int64_t rows = shape.images * shape.height;
    std::vector<std::vector<SilhouettePair>> found(rows);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t row = 0; row < rows; ++row) {
        const int64_t image = row / shape.height, y = row % shape.height;
        const float* points = vertices + image * shape.vertices * 3;
        for (int64_t x = 0; x < shape.width; ++x) {
            const int64_t p = row * shape.width + x;
            for (int axis = 0; axis < 2; ++axis) {
                if (axis == 0 ? x + 1 >= shape.width : y + 1 >= shape.height) continue;
                const int64_t q = p + (axis == 0 ? 1 : shape.width);
                if (face[p] == face[q]) continue;
                const bool own = face[q] < 0 || (face[p] >= 0 && depth[p] <= depth[q]);
                SilhouettePair pair{own ? p : q, own ? q : p, 0, 0};
                if (crossing(points, triangles, opposite, face[pair.near], static_cast<float>(x) + 0.5f,
                             static_cast<float>(y) + 0.5f, axis, pair))
                    found[row].push_back(pair);
            }
        }
    }
    for (const auto& list : found) pairs.insert(pairs.end(), list.begin(), list.end());
}

}  // namespace avatarkit::AK_ISA
