#include "march/march.h"

#include "common/threads.h"
#include "march/march_ray.h"

namespace avatarkit::AK_ISA {

// Both passes take the parts in any order: every part's rays are marched one after the other.
void march_count(const MarchInput& in, int64_t* ray_offsets, MarchedLengths& lengths) {
    constexpr int64_t grow = 4096;
    const OccupancyGrid grid(in.bitfield, in.cells);
    const int threads = thread_count();
    ray_offsets[0] = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int part = 0; part < MarchedLengths::kParts; ++part) {
        const Range range = part_of(in.rays, part, MarchedLengths::kParts);
        int64_t used = 0, room = 0;
        float* list = nullptr;
        for (int64_t ray = range.begin; ray < range.end; ++ray) {
            RayWalk walk(in.origins + ray * 3, in.directions + ray * 3, grid, in.step, ray_shift(ray, in.seed));
            const int64_t before = used;
            float t;
            while (used - before < in.max_samples && walk.next(grid, t)) {
                if (used == room) {
                    list = lengths.reserve(part, used, grow);
                    room += grow;
                }
                list[used++] = t;
            }
            ray_offsets[ray + 1] = used - before;
        }
    }
    for (int64_t ray = 0; ray < in.rays; ++ray) ray_offsets[ray + 1] += ray_offsets[ray];
}

void march_fill(const MarchInput& in, const int64_t* ray_offsets, const MarchedLengths& lengths, float* points,
                float* t) {
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < MarchedLengths::kParts; ++part) {
        const Range range = part_of(in.rays, part, MarchedLengths::kParts);
        const int64_t first = ray_offsets[range.begin];
        const float* list = lengths.part(part);
        for (int64_t ray = range.begin; ray < range.end; ++ray)
            for (int64_t s = ray_offsets[ray]; s < ray_offsets[ray + 1]; ++s) {
                t[s] = list[s - first];
                RayWalk::point(in.origins + ray * 3, in.directions + ray * 3, t[s], points + s * 3);
            }
    }
}

}  // namespace avatarkit::AK_ISA
