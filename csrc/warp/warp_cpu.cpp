#include "warp/warp.h"

#include "common/threads.h"
#include "warp/warp_point.h"

namespace avatarkit::AK_ISA {
namespace {

// 1 / x within 2^-22: an estimate and a step of Newton's.
inline Vec reciprocal(Vec x) {
#if defined(AK_AVX512)
    const Vec y = (Vec)_mm512_rcp14_ps((__m512)x);
#elif defined(__AVX2__)
    const Vec y = (Vec)_mm256_rcp_ps((__m256)x);
#else
    const Vec y = splat(1.f) / x;
#endif
    return y * (splat(2.f) - x * y);
}

}  // namespace

void warp_volume(const WarpAnchors& anchors, const WarpGrid& grid, float* volume) {
    const int64_t across = grid.nodes[0], up = grid.nodes[1];
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < up * grid.nodes[2]; ++row) {
        const float y = grid.low[1] + grid.spacing * static_cast<float>(row % up);
        const float z = grid.low[2] + grid.spacing * static_cast<float>(row / up);
        for (int64_t first = 0; first < across; first += kLanes) {
            Vec x;
            for (int i = 0; i < kLanes; ++i) x[i] = grid.low[0] + grid.spacing * static_cast<float>(first + i);
            Vec weights = splat(anchors.still), moves[3] = {};
            for (int64_t a = 0; a < anchors.count; ++a) {
                const float *place = anchors.places + 3 * a, *move = anchors.moves + 3 * a;
                const float dy = y - place[1], dz = z - place[2];
                const Vec dx = x - splat(place[0]);
                const Vec inverse = reciprocal(dx * dx + splat(dy * dy + dz * dz + anchors.softening));
                const Vec weight = inverse * inverse;
                weights += weight;
                for (int axis = 0; axis < 3; ++axis) moves[axis] += weight * splat(move[axis]);
            }
            const Vec inverse = reciprocal(weights);
            const int64_t some = across - first < kLanes ? across - first : kLanes;
            float* out = volume + 4 * (row * across + first);
            for (int64_t i = 0; i < some; ++i) {
                for (int axis = 0; axis < 3; ++axis) out[4 * i + axis] = moves[axis][i] * inverse[i];
                out[4 * i + 3] = 0.f;
            }
        }
    }
}

void warp_points(const float* points, int64_t count, const WarpGrid& grid, const float* volume, float* out) {
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count; ++i) warp_point(grid, volume, points + 3 * i, out + 3 * i);
}

}  // namespace avatarkit::AK_ISA
