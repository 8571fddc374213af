#include <algorithm>

#include "common/threads.h"
#include "render/render.h"
#include "render/wave_field.h"

namespace avatarkit::AK_ISA {
namespace {

// One thread's buffers and the groups of rays it walks.
class GroupTruncation {
  public:
    GroupTruncation(const TruncateInput& in, int64_t* kept)
        : in_(in), kept_(kept), alive_(kSlots), owner_(kWave), transmittance_(kSlots),
          geometry_((kWave + kTile) * kGeometry), pass_(kWave) {}

    void run(int64_t begin, int64_t end, const FieldTable& field) {
        int alive = 0;
        for (int64_t ray = begin; ray < end; ++ray) {
            transmittance_[ray - begin] = 1.f;
            kept_[ray] = 0;
            alive_[alive++] = static_cast<int>(ray - begin);
        }
        while (alive > 0) {
            const int count = collect(begin, alive);
            wave_.geometry(field, points_, count, geometry_);
            densities(geometry_, kGeometry, count, pass_);
            wave_passing(pass_, count, in_.step);
            for (int s = 0; s < count; ++s) {
                float& transmittance = transmittance_[owner_[s]];
                if (transmittance < in_.minimum_transmittance) continue;
                ++kept_[begin + owner_[s]];
                transmittance *= pass_[s];
            }
            int left = 0;
            for (int a = 0; a < alive; ++a) {
                const int64_t ray = begin + alive_[a];
                const bool ended = transmittance_[alive_[a]] < in_.minimum_transmittance ||
                                   kept_[ray] == in_.ray_offsets[ray + 1] - in_.ray_offsets[ray];
                if (!ended) alive_[left++] = alive_[a];
            }
            alive = left;
        }
    }

  private:
    // The next samples of the rays that are alive.
    int collect(int64_t begin, int alive) {
        const int each = std::clamp(kWave / alive, kFewest, kMost);
        int count = 0;
        for (int a = 0; a < alive; ++a) {
            const int64_t ray = begin + alive_[a], first = in_.ray_offsets[ray] + kept_[ray];
            const int64_t some = std::min<int64_t>(each, in_.ray_offsets[ray + 1] - first);
            for (int64_t s = first; s < first + some; ++s) {
                points_.put(count, in_.points + s * 3);
                owner_[count++] = alive_[a];
            }
        }
        return count;
    }

    const TruncateInput& in_;
    int64_t* kept_;
    Scratch<int> alive_, owner_;
    WavePoints points_;
    WaveField wave_;
    Scratch<float> transmittance_, geometry_, pass_;
};

}  // namespace

void truncate_rays(const TruncateInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                   int64_t* kept) {
    // Groups do not cross images, whose rays read another table.
    Scratch<int64_t> groups((in.rays / kSlots + in.images + 1) * 3);
    int64_t count = 0, ray = 0;
    for (int64_t image = 0; image < in.images; ++image)
        while (ray < in.rays && in.ray_offsets[ray] < in.image_offsets[image + 1]) {
            int64_t* group = groups + 3 * count++;
            group[0] = image;
            group[1] = ray;
            while (ray < in.rays && ray - group[1] < kSlots && in.ray_offsets[ray] < in.image_offsets[image + 1])
                ++ray;
            group[2] = ray;
        }
    for (; ray < in.rays; ++ray) kept[ray] = 0;  // rays without samples behind the last image's end
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        GroupTruncation truncation(in, kept);
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < count; ++g) {
            const FieldTable field(grid, tables + groups[3 * g] * grid.table, net, false);
            truncation.run(groups[3 * g + 1], groups[3 * g + 2], field);
        }
    }
}

}  // namespace avatarkit::AK_ISA
