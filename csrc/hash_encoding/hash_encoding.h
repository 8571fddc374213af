// Multi-resolution hash encoding (avatarkit/ops/encode.py): four features an entry, one table per image.
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

constexpr int kFeatures = 4;

struct GridLevel {  // one row of HashGrid.layout
    int32_t first;  // entry of the table where the level begins
    int32_t cells;  // cells a side
    int32_t dense;  // 1: stored x fastest, without hashing
};

struct GridShape {
    const GridLevel* level;
    int64_t levels;
    int64_t table;   // floats of one table (M)
    uint32_t hash_mask;  // entries of a hashed level - 1
};

struct EncodeInput {
    const float* points;           // [N][3], clamped to the unit cube
    const int64_t* image_offsets;  // [images + 1]: samples of image b are contiguous
    int64_t samples, images;
};

}  // namespace avatarkit

// tables [images][M] -> features [levels][N][4].
AK_DECLARE(void hash_encode(const EncodeInput& in, const GridShape& grid, const float* tables, float* features))

// grad_features [levels][N][4] -> grad_tables [images][M], overwritten. One thread owns a level of an image at a
// time and adds its samples in their order: the same bits for any number of threads.
AK_DECLARE(void hash_encode_backward(const EncodeInput& in, const GridShape& grid, const float* grad_features,
                                     float* grad_tables))

// grad_features [levels][N][4] -> grad_points [N][3], overwritten; zero along axes where a point was clamped. Levels add
// up in their order: the same bits for any number of threads.
AK_DECLARE(void hash_encode_slopes(const EncodeInput& in, const GridShape& grid, const float* tables,
                                   const float* grad_features, float* grad_points))
