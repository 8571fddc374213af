// One ray's walk through the occupancy grid.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/simd.h"
#include "march/march.h"

namespace avatarkit::AK_ISA {

// The grid, with a coarse copy whose cells are blocks of kBlockCells^3: most of the cube is empty, and a ray
// leaves an empty block in one step.
class OccupancyGrid {
  public:
    static constexpr int kBlockCells = 8;

    OccupancyGrid(const uint8_t* bits, int64_t cells)
        : bits_(bits), cells_(static_cast<int>(cells)), blocks_((cells_ + kBlockCells - 1) / kBlockCells),
          coarse_(static_cast<int64_t>(blocks_) * blocks_ * blocks_) {
        std::memset(coarse_, 0, static_cast<size_t>(blocks_) * blocks_ * blocks_);
        if (cells_ % kBlockCells != 0) {  // rows do not begin at bytes: no block may be skipped
            std::memset(coarse_, 1, static_cast<size_t>(blocks_) * blocks_ * blocks_);
            return;
        }
        for (int z = 0; z < cells_; ++z)
            for (int y = 0; y < cells_; ++y) {
                const uint8_t* row = bits_ + (static_cast<int64_t>(z) * cells_ + y) * blocks_;
                uint8_t* coarse = coarse_ + (static_cast<int64_t>(z / kBlockCells) * blocks_ + y / kBlockCells) * blocks_;
                for (int x = 0; x < blocks_; ++x) coarse[x] |= row[x];
            }
    }

    int cells() const { return cells_; }
    bool occupied(const int cell[3]) const {
        const int64_t index = cell[0] + static_cast<int64_t>(cells_) * (cell[1] + static_cast<int64_t>(cells_) * cell[2]);
        return bits_[index >> 3] >> (index & 7) & 1;
    }
    bool block_empty(const int cell[3]) const {
        return coarse_[cell[0] / kBlockCells +
                       static_cast<int64_t>(blocks_) *
                           (cell[1] / kBlockCells + static_cast<int64_t>(blocks_) * (cell[2] / kBlockCells))] == 0;
    }

  private:
    const uint8_t* bits_;
    int cells_, blocks_;
    Scratch<uint8_t> coarse_;
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

// Gives a ray's samples one after the other. Which steps are samples is decided by testing the step's own point;
// skipping only ever leaves out steps that lie in empty cells for certain.
class RayWalk {
  public:
    RayWalk() = default;
    RayWalk(const float* origin, const float* direction, float step, float shift) : step_(step), shift_(shift) {
        near_ = 0.f;
        far_ = INFINITY;
        for (int axis = 0; axis < 3; ++axis) {
            origin_[axis] = origin[axis];
            direction_[axis] = direction[axis];
            const float d = direction[axis];
            inverse_[axis] = 1.f / (std::fabs(d) < 1e-9f ? (d < 0.f ? -1e-9f : 1e-9f) : d);
            const float low = (0.f - origin[axis]) * inverse_[axis], high = (1.f - origin[axis]) * inverse_[axis];
            near_ = std::max(near_, std::min(low, high));
            far_ = std::min(far_, std::max(low, high));
        }
    }

    // Moves to the next sample, whose distance and point it gives; false when the ray has left the cube.
    bool next(const OccupancyGrid& grid, float& t, float point[3]) {
        const int cells = grid.cells();
        for (;;) {
            t = near_ + (static_cast<float>(index_) + shift_) * step_;
            if (!(t < far_)) return false;
            int cell[3];
            for (int axis = 0; axis < 3; ++axis) {
                point[axis] = origin_[axis] + t * direction_[axis];
                cell[axis] = std::clamp(static_cast<int>(std::floor(point[axis] * static_cast<float>(cells))), 0, cells - 1);
            }
            if (grid.occupied(cell)) {
                ++index_;
                for (int axis = 0; axis < 3; ++axis) point[axis] = std::clamp(point[axis], 0.f, 1.f);
                return true;
            }
            skip(cell, grid.block_empty(cell) ? OccupancyGrid::kBlockCells : 1, cells);
        }
    }

  private:
    // Leaves the empty block of `size` cells around `cell`, to just before its exit.
    void skip(const int cell[3], int size, int cells) {
        float exit = INFINITY;
        for (int axis = 0; axis < 3; ++axis) {
            const int corner = cell[axis] / size * size + (direction_[axis] > 0.f ? size : 0);
            exit = std::min(exit, (static_cast<float>(corner) / static_cast<float>(cells) - origin_[axis]) * inverse_[axis]);
        }
        const float last = (std::min(exit, far_) - near_) / step_ - shift_;
        // One step short of the exit, for rounding; that step is tested like any other.
        index_ = std::max(index_ + 1, static_cast<int>(last));
    }

    float origin_[3], direction_[3], inverse_[3];
    float near_ = 0.f, far_ = 0.f, step_ = 1.f, shift_ = 0.f;
    int index_ = 0;
};

}  // namespace avatarkit::AK_ISA
