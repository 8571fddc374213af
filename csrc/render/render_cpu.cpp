#include "render/render.h"

#include <algorithm>

#include "common/threads.h"
#include "march/march_ray.h"
#include "mlp/harmonics.h"
#include "mlp/mlp_tile.h"
#include "render/wave_field.h"
#include "render/waves.h"

namespace avatarkit::AK_ISA {
namespace {

// Samples that get no color of their own when rendering fast: their weight goes to the ray's next one that does.
constexpr float kUnseen = 4e-3f;
// Rays that a thread takes at a time.
constexpr int64_t kBatch = 64;

struct RayState {
    RayWalk walk;
    float t;                        // of the next sample
    float transmittance, owed;      // what passes all samples so far; weight that has got no color yet
    float color[3], alpha, depth;
    int64_t ray, samples;
    bool ended;
};

// One thread's buffers and the rays it has under way.
class RayRenderer {
  public:
    RayRenderer(const MarchInput& rays, const OccupancyGrid& occupancy, const FieldTable& field,
                const RenderOptions& options, const RenderOutput& out, int64_t& next)
        : rays_(rays), occupancy_(occupancy), field_(field), options_(options), out_(out), next_(next),
          unseen_(options.fast ? kUnseen : 0.f), states_(kSlots), slots_(kSlots), owner_(kWave), seen_(kWave), t_(kWave),
          geometry_((kWave + kTile) * kGeometry), shares_(kSlots * kWidth), density_(kWave), weight_(kWave),
          hidden_(kTile * kHidden), rgb_(kTile * 3) {
        for (int c = 0; c < 3; ++c)
            for (int k = 0; k < kWidth; ++k) color1_t_[c * kWidth + k] = field.net.color1[k * 3 + c];
        std::fill(hidden_ + 0, hidden_ + kTile * kHidden, 0.f);
    }

    void run() {
        for (int slot = 0; slot < kSlots; ++slot) slots_[slot] = slot;
        int alive = fill(0);
        while (alive > 0) {
            const int count = collect(alive);
            wave_.geometry(field_, points_, count, geometry_);
            densities(geometry_, kGeometry, count, density_);
            paint(weigh(count));
            int left = 0;
            for (int a = 0; a < alive; ++a) {
                const RayState& state = states_[slots_[a]];
                if (state.ended)
                    write(state);
                else
                    std::swap(slots_[left++], slots_[a]);
            }
            alive = fill(left);
        }
    }

  private:
    // Begins rays until all slots are under way or none are left; returns how many are.
    int fill(int alive) {
        while (alive < kSlots) {
            if (ray_ == end_) {
#pragma omp atomic capture
                {
                    ray_ = next_;
                    next_ += kBatch;
                }
                ray_ = std::min(ray_, rays_.rays);
                end_ = std::min(ray_ + kBatch, rays_.rays);
                if (ray_ == end_) break;
            }
            const int slot = slots_[alive];
            RayState& state = states_[slot];
            const float* direction = rays_.directions + ray_ * 3;
            state = {RayWalk(rays_.origins + ray_ * 3, direction, occupancy_, rays_.step, ray_shift(ray_, rays_.seed)),
                     0.f, 1.f, 0.f, {}, 0.f, 0.f, ray_, 0, false};
            ++ray_;
            if (rays_.max_samples <= 0 || !state.walk.next(occupancy_, state.t)) {
                write(state);
                continue;
            }
            alignas(64) float harmonics[kHarmonics];
            harmonics_of(direction, harmonics);
            ray_share(field_.net, harmonics, shares_ + slot * kWidth);
            ++alive;
        }
        return alive;
    }

    // The next samples of the rays that are alive; those that have no more are marked as ended.
    int collect(int alive) {
        const int each = std::clamp(kWave / alive, kFewest, kMost);
        int count = 0;
        for (int a = 0; a < alive; ++a) {
            const int slot = slots_[a];
            RayState& state = states_[slot];
            const float *origin = rays_.origins + state.ray * 3, *direction = rays_.directions + state.ray * 3;
            for (int i = 0; i < each && !state.ended; ++i) {
                float point[3];
                RayWalk::point(origin, direction, state.t, point);
                points_.put(count, point);
                t_[count] = state.t;
                owner_[count++] = slot;
                state.ended = ++state.samples >= rays_.max_samples || !state.walk.next(occupancy_, state.t);
            }
        }
        if (options_.volume != nullptr) points_.warp(options_.warp, options_.volume, count);
        return count;
    }

    // Weights of a wave's samples; those that get a color are listed. Returns how many they are.
    int weigh(int count) {
        wave_passing(density_, count, rays_.step);
        int seen = 0;
        for (int s = 0; s < count; ++s) {
            RayState& state = states_[owner_[s]];
            if (state.transmittance < options_.minimum_transmittance) continue;
            const float pass = density_[s], weight = state.transmittance * (1.f - pass);
            state.alpha += weight;
            state.depth += weight * t_[s];
            state.transmittance *= pass;
            if (state.transmittance < options_.minimum_transmittance) state.ended = true;
            state.owed += weight;
            if (state.owed <= unseen_) continue;
            weight_[seen] = state.owed;
            seen_[seen++] = s;
            state.owed = 0.f;
        }
        return seen;
    }

    // Adds the colors of the `seen` samples to their rays. Not inlined: GCC 12 then keeps the products' sums on the
    // stack instead of in registers.
    __attribute__((noinline)) void paint(int seen) {
        constexpr int second = kWidth + kGeometry;
        for (int first = 0; first < seen; first += kTile) {
            const int some = std::min(kTile, seen - first);
            for (int i = 0; i < some; ++i) {
                const int s = seen_[first + i];
                const float *geometry = geometry_ + s * kGeometry, *share = shares_ + owner_[s] * kWidth;
                std::copy(geometry, geometry + kGeometry, hidden_ + i * kHidden + kWidth);
                std::copy(share, share + kWidth, hidden_ + i * kHidden + second);
            }
            color_tile(field_.net, color1_t_, hidden_, some, rgb_);
            for (int i = 0; i < some; ++i) {
                float* color = states_[owner_[seen_[first + i]]].color;
                for (int c = 0; c < 3; ++c) color[c] += weight_[first + i] * rgb_[i * 3 + c];
            }
        }
    }

    void write(const RayState& state) const {
        std::copy(state.color, state.color + 3, out_.color + state.ray * 3);
        out_.alpha[state.ray] = state.alpha;
        out_.depth[state.ray] = state.depth;
    }

    const MarchInput& rays_;
    const OccupancyGrid& occupancy_;
    const FieldTable& field_;
    const RenderOptions& options_;
    const RenderOutput& out_;
    int64_t& next_;  // the first ray that no thread has taken
    const float unseen_;
    int64_t ray_ = 0, end_ = 0;  // of this thread's, those that have not begun
    Scratch<RayState> states_;
    Scratch<int> slots_;  // rays under way first, free ones behind
    Scratch<int> owner_, seen_;
    WavePoints points_;
    WaveField wave_;
    Scratch<float> t_, geometry_, shares_, density_, weight_, hidden_, rgb_;
    alignas(64) float color1_t_[3 * kWidth];
};

}  // namespace

void render_rays(const MarchInput& rays, const GridShape& grid, const float* table, const FieldNetwork& net,
                 const RenderOptions& options, const RenderOutput& out) {
    const OccupancyGrid occupancy(rays.bitfield, rays.cells);
    const FieldTable field(grid, table, net, options.fast);
    const int threads = thread_count();
    int64_t next = 0;
#pragma omp parallel num_threads(threads)
    RayRenderer(rays, occupancy, field, options, out, next).run();
}

void density_at(const EncodeInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                float* density) {
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        WavePoints points;
        WaveField wave;
        Scratch<float> geometry((kWave + kTile) * kGeometry);
        for (int64_t image = 0; image < in.images; ++image) {
            const FieldTable field(grid, tables + image * grid.table, net, false);
            const int64_t begin = in.image_offsets[image], end = in.image_offsets[image + 1];
            const int64_t waves = (end - begin + kWave - 1) / kWave;
#pragma omp for schedule(dynamic, 1) nowait
            for (int64_t w = 0; w < waves; ++w) {
                const int64_t start = begin + w * kWave;
                const int count = static_cast<int>(std::min<int64_t>(kWave, end - start));
                for (int s = 0; s < count; ++s) points.put(s, in.points + (start + s) * 3);
                wave.geometry(field, points, count, geometry);
                densities(geometry, kGeometry, count, density + start);
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
