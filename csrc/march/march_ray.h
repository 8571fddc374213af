// One ray's walk through the occupancy grid.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/simd.h"
#include "march/march.h"

namespace avatarkit::AK_ISA {

typedef int32_t Int4 __attribute__((vector_size(16)));

// The grid, with a coarse copy of blocks of kBlockCells^3 cells: most of the cube is empty, and a ray leaves all the
// empty blocks around it in one step.
class OccupancyGrid {
  public:
    static constexpr int kBlockBits = 2, kBlockCells = 1 << kBlockBits;
    static constexpr uint8_t kFar = 8;  // blocks; farther ones are taken for as far

    OccupancyGrid(const uint8_t* bits, int64_t cells)
        : bits_(bits), cells_(static_cast<int>(cells)), blocks_((cells_ + kBlockCells - 1) / kBlockCells),
          distance_(static_cast<int64_t>(blocks_) * blocks_ * blocks_) {
        const int64_t all = static_cast<int64_t>(blocks_) * blocks_ * blocks_;
        if (cells_ % 8 != 0) {  // rows do not begin at bytes: no block may be skipped
            std::memset(distance_, 0, static_cast<size_t>(all));
            return;
        }
        std::memset(distance_, kFar, static_cast<size_t>(all));
        for (int z = 0; z < cells_; ++z)
            for (int y = 0; y < cells_; ++y) {
                const uint8_t* row = bits_ + (static_cast<int64_t>(z) * cells_ + y) * (cells_ / 8);
                uint8_t* blocks = distance_ + (static_cast<int64_t>(z / kBlockCells) * blocks_ + y / kBlockCells) * blocks_;
                for (int x = 0; x < blocks_; ++x)
                    if (row[x / 2] >> x % 2 * kBlockCells & ((1 << kBlockCells) - 1)) blocks[x] = 0;
            }
        const int64_t line = blocks_, plane = line * blocks_;
        Scratch<uint8_t> before(all);
        for (int64_t first = 0; first < all; first += line) spread(distance_ + first, line, 1, before);
        for (int64_t first = 0; first < all; first += plane) spread(distance_ + first, plane, line, before);
        spread(distance_, all, plane, before);
    }

    int cells() const { return cells_; }
    // Bit i: whether the cell at place i, [3] axes in cells, is occupied. Places beyond the grid count as its faces.
    uint32_t occupied(const Vec place[3]) const {
        const Vec last = splat(static_cast<float>(cells_ - 1));
        VecInt cell[3];
        for (int axis = 0; axis < 3; ++axis)
            cell[axis] = __builtin_convertvector(smaller(larger(place[axis], Vec{}), last), VecInt);
        const VecInt index = cell[0] + cells_ * (cell[1] + cells_ * cell[2]);
        uint32_t mask = 0;
        for (int i = 0; i < kLanes; ++i) mask |= static_cast<uint32_t>(bits_[index[i] >> 3] >> (index[i] & 7) & 1) << i;
        return mask;
    }
    // How many blocks away, along the axis where it is farthest, the nearest occupied block lies from the cell's own.
    int distance(Int4 cell) const {
        const Int4 block = cell >> kBlockBits;
        return distance_[block[0] + static_cast<int64_t>(blocks_) * (block[1] + static_cast<int64_t>(blocks_) * block[2])];
    }

  private:
    // Carries the `count` distances along one axis, whose neighbors are `stride` apart; `before` is room for them.
    static void spread(uint8_t* distance, int64_t count, int64_t stride, uint8_t* before) {
        std::memcpy(before, distance, static_cast<size_t>(count));
        for (uint8_t k = 1; k < kFar; ++k) {
            const int64_t apart = k * stride;
            for (int64_t i = 0; i + apart < count; ++i) {
                distance[i] = std::min(distance[i], std::max(before[i + apart], k));
                distance[i + apart] = std::min(distance[i + apart], std::max(before[i], k));
            }
        }
    }

    const uint8_t* bits_;
    int cells_, blocks_;
    Scratch<uint8_t> distance_;
};

// Wellons' "lowbias32" (2018).
inline uint32_t hashed(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

// The shift of a ray's samples, in steps.
inline float ray_shift(int64_t ray, int64_t seed) {
    if (seed < 0) return 0.5f;
    const uint32_t start = hashed(static_cast<uint32_t>(seed));
    return static_cast<float>(hashed(static_cast<uint32_t>(ray) ^ start) >> 8) * 0x1p-24f;
}

// Gives a ray's samples one after the other. Which steps are samples is decided by testing the step's own point, many
// at a time; skipping only ever leaves out steps that lie in empty cells for certain.
class RayWalk {
  public:
    RayWalk() = default;
    // Lengths along the ray stay as they are; points are in cells from here on.
    RayWalk(const float* origin, const float* direction, const OccupancyGrid& grid, float step, float shift)
        : step_(step), inverse_step_(1.f / step), shift_(shift) {
        const float cells = static_cast<float>(grid.cells());
        float reach = 1.7321f;  // a little over the cube's diagonal
        near_ = 0.f;
        far_ = INFINITY;
        for (int axis = 0; axis < 3; ++axis) {
            const float d = direction[axis];
            const float inverse = 1.f / (std::fabs(d) < 1e-9f ? (d < 0.f ? -1e-9f : 1e-9f) : d);
            const float low = (0.f - origin[axis]) * inverse, high = (1.f - origin[axis]) * inverse;
            near_ = std::max(near_, std::min(low, high));
            far_ = std::min(far_, std::max(low, high));
            origin_[axis] = origin[axis] * cells;
            direction_[axis] = d * cells;
            inverse_[axis] = inverse / cells;
            ahead_[axis] = d > 0.f ? -1 : 0;
            // Directions that are no unit vectors must not make endless rays, nor numbers that are none.
            if (!std::isfinite(origin[axis] + d)) reach = -1.f;
        }
        far_ = std::min(far_, near_ + reach);
    }

    // Moves to the next sample and gives its distance; false when the ray has left the cube.
    bool next(const OccupancyGrid& grid, float& t) {
        const Int4 last = Int4{} + (grid.cells() - 1);
        for (;;) {
            if (found_ != 0) {
                t = near_ + (static_cast<float>(index_ + __builtin_ctz(found_)) + shift_) * step_;
                found_ &= found_ - 1;
                if (found_ == 0) index_ += kLanes;
                return true;
            }
            t = near_ + (static_cast<float>(index_) + shift_) * step_;
            if (!(t < far_)) return false;
            Int4 cell = __builtin_convertvector(origin_ + splat4(t) * direction_, Int4);
            cell = cell < 0 ? Int4{} : cell;
            cell = cell > last ? last : cell;
            const int distance = grid.distance(cell);
            if (distance > 0)
                skip(cell, distance);
            else if ((found_ = look(grid)) == 0)
                index_ += kLanes;
        }
    }

    // The point at distance t, in the unit cube.
    static void point(const float* origin, const float* direction, float t, float* out) {
        for (int axis = 0; axis < 3; ++axis) out[axis] = std::clamp(origin[axis] + t * direction[axis], 0.f, 1.f);
    }

  private:
    // Bit i: whether step index_ + i is a sample.
    uint32_t look(const OccupancyGrid& grid) const {
        Vec count;
        for (int i = 0; i < kLanes; ++i) count[i] = static_cast<float>(i);
        const Vec t = splat(near_) + (splat(static_cast<float>(index_)) + count + splat(shift_)) * splat(step_);
        Vec place[3];
        for (int axis = 0; axis < 3; ++axis) place[axis] = splat(origin_[axis]) + t * splat(direction_[axis]);
        uint32_t within = 0;
        const VecInt inside = t < splat(far_);
        for (int i = 0; i < kLanes; ++i) within |= static_cast<uint32_t>(inside[i] & 1) << i;
        return grid.occupied(place) & within;
    }

    // Leaves all blocks that are nearer than `distance`, to just before the exit.
    void skip(Int4 cell, int distance) {
        const Int4 corner = ((cell >> OccupancyGrid::kBlockBits) + (1 - distance) - ahead_ * (2 * distance - 1))
                            << OccupancyGrid::kBlockBits;
        const Vec4 exit = (__builtin_convertvector(corner, Vec4) - origin_) * inverse_;
        const float leave = std::min(std::min(exit[0], exit[1]), std::min(exit[2], far_));
        // The first step behind the exit; one within a hundredth before it is tested as well: rounding must not lose it.
        index_ = std::max(index_ + 1, static_cast<int>((leave - near_) * inverse_step_ - shift_ + 0.99f));
    }

    Vec4 origin_ = {}, direction_ = {}, inverse_ = {};
    Int4 ahead_ = {};  // -1 where the ray leaves a cell through its upper face
    float near_ = 0.f, far_ = 0.f, step_ = 1.f, inverse_step_ = 1.f, shift_ = 0.f;
    int index_ = 0;        // the next step to look at
    uint32_t found_ = 0;   // samples among the kLanes steps from there
};

}  // namespace avatarkit::AK_ISA
