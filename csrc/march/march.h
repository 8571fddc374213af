// Uniform ray marching through the occupied cells of the unit cube (avatarkit/ops/march.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

struct MarchInput {
    const float *origins, *directions;  // [R][3], directions of unit length
    int64_t rays;
    const uint8_t* bitfield;  // [cells^3 / 8], x fastest, least significant bit first
    int64_t cells;
    float step;
    int64_t max_samples;  // a ray
    int64_t seed;         // -1: samples in the middle of their steps
};

// The samples' distances between counting and filling: the rays in kParts contiguous parts, each with its own list.
class MarchedLengths {
  public:
    static constexpr int kParts = 64;

    MarchedLengths() = default;
    ~MarchedLengths();
    MarchedLengths(const MarchedLengths&) = delete;
    MarchedLengths& operator=(const MarchedLengths&) = delete;
    // Makes room for `more` distances behind the `used` ones of a part, and returns the part's list.
    float* reserve(int part, int64_t used, int64_t more);
    const float* part(int part) const { return list_[part]; }

  private:
    float* list_[kParts] = {};
    int64_t capacity_[kParts] = {};
};

}  // namespace avatarkit

// ray_offsets [R + 1]: where every ray's samples begin.
AK_DECLARE(void march_count(const MarchInput& in, int64_t* ray_offsets, MarchedLengths& lengths))
// points [N][3], t [N] of what march_count found.
AK_DECLARE(void march_fill(const MarchInput& in, const int64_t* ray_offsets, const MarchedLengths& lengths,
                           float* points, float* t))
