#include "render/render.h"

#include <algorithm>

#include "common/threads.h"
#include "march/march_ray.h"
#include "mlp/bf16_tile.h"
#include "mlp/mlp_tile.h"
#include "render/waves.h"
#include "warp/warp_point.h"

namespace avatarkit::AK_ISA {
namespace {

struct RayState {
    RayWalk walk;
    float transmittance, color[3], alpha, depth;
    int64_t ray, samples;
    bool ended;
};

// One thread's buffers and the groups it renders.
class GroupRenderer {
  public:
    GroupRenderer(const MarchInput& rays, const OccupancyGrid& occupancy, const float* harmonics,
                  const GridShape& grid, const float* table, const FieldNetwork& net, const RenderOptions& options,
                  const RenderOutput& out)
        : rays_(rays), occupancy_(occupancy), harmonics_(harmonics), grid_(grid), table_(table), net_(net),
          options_(options), out_(out), states_(kGroupRays), alive_(kGroupRays), owner_(kWave), points_(kWave * 3),
          t_(kWave), rows_((kWave + kTile) * kWidth), hidden_(kTile * kHidden), shares_(kGroupRays * kWidth),
          density_(kWave), rgb_(kWave * 3)
#ifdef AK_AVX512
          , half_(net), use_half_(options.fast && has_bf16())
#endif
    {
        for (int c = 0; c < 3; ++c)
            for (int k = 0; k < kWidth; ++k) color1_t_[c * kWidth + k] = net.color1[k * 3 + c];
    }

    void run(int64_t begin, int64_t end) {
        int alive = 0;
        for (int64_t ray = begin; ray < end; ++ray) {
            RayState& state = states_[ray - begin];
            state = {RayWalk(rays_.origins + ray * 3, rays_.directions + ray * 3, occupancy_, rays_.step,
                             ray_shift(ray, rays_.seed)),
                     1.f, {}, 0.f, 0.f, ray, 0, false};
            ray_share(net_, harmonics_ + ray * kHarmonics, shares_ + (ray - begin) * kWidth);
            alive_[alive++] = static_cast<int>(ray - begin);
        }
        while (alive > 0) {
            const int count = collect(alive);
            evaluate(count);
            accumulate(count);
            int left = 0;
            for (int a = 0; a < alive; ++a)
                if (!states_[alive_[a]].ended) alive_[left++] = alive_[a];
            alive = left;
        }
        for (int64_t ray = begin; ray < end; ++ray) {
            const RayState& state = states_[ray - begin];
            std::copy(state.color, state.color + 3, out_.color + ray * 3);
            out_.alpha[ray] = state.alpha;
            out_.depth[ray] = state.depth;
        }
    }

  private:
    // The next samples of the rays that are alive; those that leave the cube are marked as ended.
    int collect(int alive) {
        const int each = std::clamp(kWave / alive, kFewest, kMost);
        int count = 0;
        for (int a = 0; a < alive; ++a) {
            RayState& state = states_[alive_[a]];
            for (int i = 0; i < each; ++i) {
                if (state.samples >= rays_.max_samples || !state.walk.next(occupancy_, t_[count])) {
                    state.ended = true;
                    break;
                }
                RayWalk::point(rays_.origins + state.ray * 3, rays_.directions + state.ray * 3, t_[count],
                               points_ + count * 3);
                if (options_.volume != nullptr)
                    warp_point(options_.warp, options_.volume, points_ + count * 3, points_ + count * 3);
                ++state.samples;
                owner_[count++] = alive_[a];
            }
        }
        return count;
    }

    void evaluate(int count) {
        encode_rows(points_, count, grid_, table_, rows_);
        std::fill(rows_ + count * kWidth, rows_ + (count + kTile) * kWidth, 0.f);
        for (int first = 0; first < count; first += kTile) {
            const int some = std::min(kTile, count - first);
            const auto share = [&](int s) -> const float* { return shares_ + owner_[first + s] * kWidth; };
#ifdef AK_AVX512
            if (use_half_) {
                field_tile_bf16(half_, rows_ + first * kWidth, some, share, density_ + first, rgb_ + first * 3);
                continue;
            }
#endif
            density_tile(net_, rows_ + first * kWidth, hidden_);
            densities(hidden_, some, density_ + first);
            for (int s = 0; s < kTile; ++s) {
                const float* from = share(std::min(s, some - 1));
                std::copy(from, from + kWidth, hidden_ + s * kHidden + kWidth + kGeometry);
            }
            color_tile(net_, color1_t_, hidden_, some, rgb_ + first * 3);
        }
    }

    void accumulate(int count) {
        wave_passing(density_, count, rays_.step);
        for (int s = 0; s < count; ++s) {
            RayState& state = states_[owner_[s]];
            if (state.transmittance < options_.minimum_transmittance) continue;
            const float pass = density_[s], weight = state.transmittance * (1.f - pass);
            for (int c = 0; c < 3; ++c) state.color[c] += weight * rgb_[s * 3 + c];
            state.alpha += weight;
            state.depth += weight * t_[s];
            state.transmittance *= pass;
            if (state.transmittance < options_.minimum_transmittance) state.ended = true;
        }
    }

    const MarchInput& rays_;
    const OccupancyGrid& occupancy_;
    const float* harmonics_;
    const GridShape& grid_;
    const float* table_;
    const FieldNetwork& net_;
    const RenderOptions& options_;
    const RenderOutput& out_;
    Scratch<RayState> states_;
    Scratch<int> alive_, owner_;
    Scratch<float> points_, t_, rows_, hidden_, shares_, density_, rgb_;
    alignas(64) float color1_t_[3 * kWidth];
#ifdef AK_AVX512
    const Bf16Network half_;
    const bool use_half_;
#endif
};

}  // namespace

void render_rays(const MarchInput& rays, const float* harmonics, const GridShape& grid, const float* table,
                 const FieldNetwork& net, const RenderOptions& options, const RenderOutput& out) {
    const OccupancyGrid occupancy(rays.bitfield, rays.cells);
    const int64_t groups = (rays.rays + kGroupRays - 1) / kGroupRays;
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        GroupRenderer renderer(rays, occupancy, harmonics, grid, table, net, options, out);
#pragma omp for schedule(dynamic, 1)
        for (int64_t group = 0; group < groups; ++group)
            renderer.run(group * kGroupRays, std::min((group + 1) * kGroupRays, rays.rays));
    }
}

void density_at(const EncodeInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                float* density) {
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> rows((kWave + kTile) * kWidth), hidden(kTile * kHidden);
        for (int64_t image = 0; image < in.images; ++image) {
            const int64_t begin = in.image_offsets[image], end = in.image_offsets[image + 1];
            const int64_t waves = (end - begin + kWave - 1) / kWave;
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t wave = 0; wave < waves; ++wave) {
                const int64_t start = begin + wave * kWave;
                const int count = static_cast<int>(std::min<int64_t>(kWave, end - start));
                encode_rows(in.points + start * 3, count, grid, tables + image * grid.table, rows);
                wave_densities(net, rows, count, hidden, density + start);
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
