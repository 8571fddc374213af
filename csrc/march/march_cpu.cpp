#include "march/march.h"

#include "common/threads.h"
#include "march/march_ray.h"

namespace avatarkit::AK_ISA {

// Marching costs a few cache lines a ray: rays are dealt out in groups, since neighbors cost alike.
constexpr int kRayGroup = 64;

void march_count(const MarchInput& in, int64_t* ray_offsets) {
    const OccupancyGrid grid(in.bitfield, in.cells);
    const int threads = thread_count();
    ray_offsets[0] = 0;
#pragma omp parallel for schedule(dynamic, kRayGroup) num_threads(threads)
    for (int64_t ray = 0; ray < in.rays; ++ray) {
        RayWalk walk(in.origins + ray * 3, in.directions + ray * 3, grid, in.step, ray_shift(ray, in.seed));
        float t;
        int64_t count = 0;
        while (count < in.max_samples && walk.next(grid, t)) ++count;
        ray_offsets[ray + 1] = count;
    }
    for (int64_t ray = 0; ray < in.rays; ++ray) ray_offsets[ray + 1] += ray_offsets[ray];
}

void march_fill(const MarchInput& in, const int64_t* ray_offsets, float* points, float* t) {
    const OccupancyGrid grid(in.bitfield, in.cells);
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, kRayGroup) num_threads(threads)
    for (int64_t ray = 0; ray < in.rays; ++ray) {
        if (ray_offsets[ray] == ray_offsets[ray + 1]) continue;
        RayWalk walk(in.origins + ray * 3, in.directions + ray * 3, grid, in.step, ray_shift(ray, in.seed));
        for (int64_t s = ray_offsets[ray]; s < ray_offsets[ray + 1]; ++s)
            if (walk.next(grid, t[s])) RayWalk::point(in.origins + ray * 3, in.directions + ray * 3, t[s], points + s * 3);
    }
}

}  // namespace avatarkit::AK_ISA
