// The occupancy grid's bits (avatarkit/ops/occupancy.py): cell i, x fastest, is bit i % 8 of byte i / 8.
#pragma once

#include <cstdint>

#include "common/isa.h"

// bits [count / 8]: values [count] above the threshold; count divisible by 8.
AK_DECLARE(void pack_bits(const float* values, int64_t count, float threshold, uint8_t* bits))

// out: bits [cells^3 / 8] with all 26 neighbors of set cells set; cells divisible by 8, out another array.
AK_DECLARE(void dilate_bits(const uint8_t* bits, int64_t cells, uint8_t* out))

// values [cells^3]: raised to weights [count] in the cells of points [count][3], where a weight is above `least`.
AK_DECLARE(void raise_at_points(float* values, int64_t cells, const float* points, const float* weights, int64_t count,
                                float least))
