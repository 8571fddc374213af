#include <algorithm>

#include "common/threads.h"
#include "march/march_ray.h"
#include "render/render.h"
#include "render/wave_field.h"

namespace avatarkit::AK_ISA {
namespace {

struct RayState {
    RayWalk walk;
    float t, transmittance;  // of the next sample; what passes all samples so far
    int64_t samples;
    bool ended;
};

// One thread's buffers and the groups of rays it walks.
class GroupWalk {
  public:
    GroupWalk(const VisibleInput& in, const OccupancyGrid& occupancy, int inputs)
        : in_(in), occupancy_(occupancy), inputs_(inputs), states_(kSlots), alive_(kSlots), owner_(kWave), t_(kWave),
          geometry_((kWave + kTile) * kGeometry), pass_(kWave) {}

    // kept [rays]: how many samples each ray of the group keeps; they are appended to `list` wave after wave.
    void run(const VisibleGroup& group, const FieldTable& field, int64_t* kept, VisibleList& list) {
        volume_ = in_.volumes == nullptr ? nullptr : in_.volumes + group.image * in_.volume_floats;
        int alive = begin(group, kept);
        while (alive > 0) {
            const int count = collect(group.begin, alive);
            wave_.geometry(field, points_, count, geometry_);
            densities(geometry_, kGeometry, count, pass_);
            wave_passing(pass_, count, in_.rays.step);
            keep(group.begin, count, kept, list);
            int left = 0;
            for (int a = 0; a < alive; ++a)
                if (!states_[alive_[a]].ended) alive_[left++] = alive_[a];
            alive = left;
        }
    }

  private:
    int begin(const VisibleGroup& group, int64_t* kept) {
        int alive = 0;
        for (int64_t ray = group.begin; ray < group.end; ++ray) {
            const int slot = static_cast<int>(ray - group.begin);
            RayState& state = states_[slot];
            kept[ray] = 0;
            state = {RayWalk(in_.rays.origins + ray * 3, in_.rays.directions + ray * 3, occupancy_, in_.rays.step,
                             ray_shift(ray, in_.rays.seed)),
                     0.f, 1.f, 0, false};
            if (in_.rays.max_samples > 0 && state.walk.next(occupancy_, state.t)) alive_[alive++] = slot;
        }
        return alive;
    }

    // The next samples of the rays that are alive; those that have no more are marked as ended.
    int collect(int64_t first_ray, int alive) {
        const int each = std::clamp(kWave / alive, kFewest, kMost);
        int count = 0;
        for (int a = 0; a < alive; ++a) {
            RayState& state = states_[alive_[a]];
            const int64_t ray = first_ray + alive_[a];
            for (int i = 0; i < each && !state.ended; ++i) {
                float point[3];
                RayWalk::point(in_.rays.origins + ray * 3, in_.rays.directions + ray * 3, state.t, point);
                points_.put(count, point);
                t_[count] = state.t;
                owner_[count++] = alive_[a];
                state.ended = ++state.samples >= in_.rays.max_samples || !state.walk.next(occupancy_, state.t);
            }
        }
        if (volume_ != nullptr) points_.warp(in_.warp, volume_, count);
        return count;
    }

    void keep(int64_t first_ray, int count, int64_t* kept, VisibleList& list) {
        VisibleSample* to = list.reserve(count);
        for (int s = 0; s < count; ++s) {
            RayState& state = states_[owner_[s]];
            if (state.transmittance < in_.minimum_transmittance) continue;
            state.transmittance *= pass_[s];
            if (state.transmittance < in_.minimum_transmittance) state.ended = true;
            to->ray = first_ray + owner_[s];
            to->t = t_[s];
            for (int axis = 0; axis < 3; ++axis) to->origin[axis] = points_.axes[axis * kWave + s];
            std::copy_n(wave_.row(s), inputs_, to->features);
            ++kept[to->ray];
            ++list.count;
            ++to;
        }
    }

    const VisibleInput& in_;
    const OccupancyGrid& occupancy_;
    const int inputs_;
    const float* volume_ = nullptr;
    Scratch<RayState> states_;
    Scratch<int> alive_, owner_;
    WavePoints points_;
    WaveField wave_;
    Scratch<float> t_, geometry_, pass_;
};

}  // namespace

void find_visible(const VisibleInput& in, const GridShape& grid, const float* tables, const FieldNetwork& net,
                  int64_t* ray_offsets, VisibleSamples& found) {
    const OccupancyGrid occupancy(in.rays.bitfield, in.rays.cells);
    // Groups do not cross images, whose rays read another table.
    int64_t groups = 0;
    for (int64_t image = 0; image < in.images; ++image)
        groups += (in.image_rays[image + 1] - in.image_rays[image] + kSlots - 1) / kSlots;
    found.resize(groups);
    groups = 0;
    for (int64_t image = 0; image < in.images; ++image)
        for (int64_t ray = in.image_rays[image]; ray < in.image_rays[image + 1]; ray += kSlots)
            found.group(groups++) = {image, ray, std::min<int64_t>(ray + kSlots, in.image_rays[image + 1])};
    ray_offsets[0] = 0;
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        GroupWalk walk(in, occupancy, net.inputs);
#pragma omp for schedule(dynamic, 1)
        for (int64_t g = 0; g < groups; ++g) {
            const FieldTable field(grid, tables + found.group(g).image * grid.table, net, false);
            walk.run(found.group(g), field, ray_offsets + 1, found.list(g));
        }
    }
    for (int64_t ray = 0; ray < in.rays.rays; ++ray) ray_offsets[ray + 1] += ray_offsets[ray];
}

void fill_visible(const MarchInput& rays, const int64_t* ray_offsets, VisibleSamples& found,
                  const VisibleOutput& out) {
    const int64_t samples = ray_offsets[rays.rays];
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t g = 0; g < found.groups(); ++g) {
        const VisibleList& list = found.list(g);
        const int64_t first_ray = found.group(g).begin;
        Scratch<int64_t> next(kSlots);
        std::copy(ray_offsets + first_ray, ray_offsets + found.group(g).end, static_cast<int64_t*>(next));
        for (int64_t i = 0; i < list.count; ++i) {
            const VisibleSample& sample = list.samples[i];
            const int64_t at = next[sample.ray - first_ray]++;
            out.t[at] = sample.t;
            RayWalk::point(rays.origins + sample.ray * 3, rays.directions + sample.ray * 3, sample.t,
                           out.points + at * 3);
            std::copy(sample.origin, sample.origin + 3, out.origins + at * 3);
            for (int64_t level = 0; level < out.levels; ++level)
                store(out.features + (level * samples + at) * kFeatures, load<Vec4>(sample.features + level * kFeatures));
        }
    }
}

}  // namespace avatarkit::AK_ISA
