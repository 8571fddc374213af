#include <algorithm>

#include "common/threads.h"
#include "render/render.h"
#include "render/waves.h"

namespace avatarkit::AK_ISA {
namespace {

// One thread's buffers and the groups of rays it walks.
class GroupTruncation {
  public:
    GroupTruncation(const TruncateInput& in, const GridShape& grid, const FieldNetwork& net, int64_t* kept)
        : in_(in), grid_(grid), net_(net), kept_(kept), alive_(kGroupRays), owner_(kWave),
          transmittance_(kGroupRays), points_(kWave * 3), rows_((kWave + kTile) * kWidth), hidden_(kTile * kHidden),
          pass_(kWave) {}

    void run(int64_t begin, int64_t end, const float* table) {
        int alive = 0;
        for (int64_t ray = begin; ray < end; ++ray) {
            transmittance_[ray - begin] = 1.f;
            kept_[ray] = 0;
            alive_[alive++] = static_cast<int>(ray - begin);
        }
        while (alive > 0) {
            const int count = collect(begin, alive);
            encode_rows(points_, count, grid_, table, rows_);
            wave_densities(net_, rows_, count, hidden_, pass_);
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
            std::copy(in_.points + first * 3, in_.points + (first + some) * 3, points_ + count * 3);
            std::fill(owner_ + count, owner_ + count + some, alive_[a]);
            count += static_cast<int>(some);
        }
        return count;
    }

    const TruncateInput& in_;
    const GridShape& grid_;
    const FieldNetwork& net_;
    int64_t* kept_;
    Scratch<int> alive_, owner_;
    Scratch<float> transmittance_, points_, rows_, hidden_, pass_;
};

}  // namespace

void truncate_rays(const TruncateInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                   int64_t* kept) {
    // Groups do not cross images, whose rays read another table.
    Scratch<int64_t> groups((in.rays / kGroupRays + in.images + 1) * 3);
    int64_t count = 0, ray = 0;
    for (int64_t image = 0; image < in.images; ++image)
        while (ray < in.rays && in.ray_offsets[ray] < in.image_offsets[image + 1]) {
            int64_t* group = groups + 3 * count++;
            group[0] = image;
            group[1] = ray;
            while (ray < in.rays && ray - group[1] < kGroupRays && in.ray_offsets[ray] < in.image_offsets[image + 1])
                ++ray;
            group[2] = ray;
        }
    for (; ray < in.rays; ++ray) kept[ray] = 0;  // rays without samples behind the last image's end
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        GroupTruncation truncation(in, grid, net, kept);
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < count; ++g)
            truncation.run(groups[3 * g + 1], groups[3 * g + 2], tables + groups[3 * g] * grid.table);
    }
}

}  // namespace avatarkit::AK_ISA
