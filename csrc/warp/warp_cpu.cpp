#include "warp/warp.h"

#include <algorithm>

#include "common/threads.h"
#include "warp/warp_point.h"

namespace avatarkit::AK_ISA {
void warp_volume(const WarpAnchors& anchors, const WarpGrid& grid, float* volume) {
    // Nodes row after row: rows are no multiple of a vector.
    const int64_t across = grid.nodes[0], up = grid.nodes[1], count = across * up * grid.nodes[2];
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += kLanes) {
        alignas(64) float at[3][kLanes];
        for (int i = 0; i < kLanes; ++i) {
            const int64_t node = first + i, row = node / across, cell[3] = {node % across, row % up, row / up};
            for (int axis = 0; axis < 3; ++axis)
                at[axis][i] = grid.low[axis] + grid.spacing * static_cast<float>(cell[axis]);
        }
        const Vec x = load(at[0]), y = load(at[1]), z = load(at[2]);
        Vec weights = splat(anchors.still), moves[3] = {};
        for (int64_t a = 0; a < anchors.count; ++a) {
            const float *place = anchors.places + 3 * a, *move = anchors.moves + 3 * a;
            const Vec dx = x - splat(place[0]), dy = y - splat(place[1]), dz = z - splat(place[2]);
            const Vec inverse = reciprocal(dx * dx + (dy * dy + (dz * dz + splat(anchors.softening))));
            const Vec weight = inverse * inverse;
            weights += weight;
            for (int axis = 0; axis < 3; ++axis) moves[axis] += weight * splat(move[axis]);
        }
        const Vec inverse = reciprocal(weights);
        const int64_t some = count - first < kLanes ? count - first : kLanes;
        float* out = volume + 4 * first;
        for (int64_t i = 0; i < some; ++i) {
            for (int axis = 0; axis < 3; ++axis) out[4 * i + axis] = moves[axis][i] * inverse[i];
            out[4 * i + 3] = 0.f;
        }
    }
}

void warp_points(const float* points, int64_t count, const WarpGrid& grid, const float* volume, float* out) {
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += kLanes) {
        const int some = static_cast<int>(std::min<int64_t>(kLanes, count - first));
        Vec position[3] = {};
        for (int i = 0; i < some; ++i)
            for (int axis = 0; axis < 3; ++axis) position[axis][i] = points[3 * (first + i) + axis];
        warp_lanes(grid, volume, position);
        for (int i = 0; i < some; ++i)
            for (int axis = 0; axis < 3; ++axis) out[3 * (first + i) + axis] = position[axis][i];
    }
}

}  // namespace avatarkit::AK_ISA
