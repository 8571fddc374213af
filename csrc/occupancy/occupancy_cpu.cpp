#include "occupancy/occupancy.h"

#include <algorithm>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {

void pack_bits(const float* values, int64_t count, float threshold, uint8_t* bits) {
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < count / 8; ++i) {
#ifdef __AVX2__
        const __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(values + i * 8), _mm256_set1_ps(threshold), _CMP_GT_OQ);
        bits[i] = static_cast<uint8_t>(_mm256_movemask_ps(above));
#else
        int byte = 0;
        for (int b = 0; b < 8; ++b) byte |= (values[i * 8 + b] > threshold) << b;
        bits[i] = static_cast<uint8_t>(byte);
#endif
    }
}

void dilate_bits(const uint8_t* bits, int64_t cells, uint8_t* out) {
    const int64_t row = cells / 8, plane = row * cells;
    Scratch<uint8_t> wide(plane * cells), tall(plane * cells);
    for (int64_t at = 0; at < plane * cells; at += row)
        for (int64_t x = 0; x < row; ++x) {
            const int byte = bits[at + x];
            const int before = x > 0 ? bits[at + x - 1] >> 7 : 0, after = x + 1 < row ? bits[at + x + 1] << 7 : 0;
            wide[at + x] = static_cast<uint8_t>(byte | byte << 1 | byte >> 1 | before | after);
        }
    // Sets `to` to the union of a row (or plane) and those before and after it.
    const auto spread = [](const uint8_t* from, uint8_t* to, int64_t count, int64_t length) {
        for (int64_t i = 0; i < count; ++i) {
            const uint8_t* here = from + i * length;
            const uint8_t* before = i > 0 ? here - length : here;
            const uint8_t* after = i + 1 < count ? here + length : here;
            for (int64_t x = 0; x < length; ++x) to[i * length + x] = here[x] | before[x] | after[x];
        }
    };
    for (int64_t z = 0; z < cells; ++z) spread(wide + z * plane, tall + z * plane, cells, row);
    spread(tall, out, cells, plane);
}

void raise_at_points(float* values, int64_t cells, const float* points, const float* weights, int64_t count,
                     float least) {
    const float scale = static_cast<float>(cells);
    for (int64_t i = 0; i < count; ++i) {
        if (!(weights[i] > least)) continue;
        int64_t cell[3];
        for (int axis = 0; axis < 3; ++axis)
            cell[axis] = std::clamp<int64_t>(static_cast<int64_t>(points[3 * i + axis] * scale), 0, cells - 1);
        float& value = values[cell[0] + cells * (cell[1] + cells * cell[2])];
        value = std::max(value, weights[i]);
    }
}

}  // namespace avatarkit::AK_ISA
