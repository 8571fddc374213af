// A copy of a blended table in half precision, for rendering: half the memory that every wave of samples reads again.
#pragma once

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "common/threads.h"
#include "hash_encoding/encode_block.h"

#ifdef __F16C__

namespace avatarkit::AK_ISA {

typedef uint16_t Half;

// All features multiplied by one `scale`.
class HalfTable {
  public:
    // The largest feature becomes `most`, or all stay as they are when that is 0.
    HalfTable(const GridShape& grid, const float* table, float most) : entries(grid.table), bounds(grid.levels) {
        const int threads = thread_count();
        float largest = 1e-30f;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t l = 0; l < grid.levels; ++l) {
            float found = 0.f;
            for (int64_t i = begin(grid, l); i < begin(grid, l + 1); ++i) found = std::max(found, std::fabs(table[i]));
            bounds[l] = found;
        }
        for (int64_t l = 0; l < grid.levels; ++l) largest = std::max(largest, bounds[l]);
        scale = most > 0.f ? most / largest : 1.f;
        for (int64_t l = 0; l < grid.levels; ++l) bounds[l] = bounds[l] * scale * (1.f + 1.f / 1024.f);  // rounding to half precision may raise it
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t i = 0; i < grid.table; i += kFeatures) {
            const Vec4 value = load<Vec4>(table + i) * splat4(scale);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(entries + i), _mm_cvtps_ph((__m128)value, 0));
        }
    }

    Scratch<Half> entries;
    Scratch<float> bounds;  // on the size of every level's features after scaling
    float scale;

  private:
    static int64_t begin(const GridShape& grid, int64_t level) {
        return level == grid.levels ? grid.table : static_cast<int64_t>(grid.level[level].first) * kFeatures;
    }
};

// Features of lane i, read from the level's table.
inline Vec4 interpolate(const Half* table, const Corners& corners, int i) {
    Vec4 value = {};
#pragma GCC unroll 8
    for (int corner = 0; corner < 8; ++corner) {
        const __m128i entry = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(table + corners.offset[corner][i]));
        value += splat4(corners.weight[corner][i]) * (Vec4)_mm_cvtph_ps(entry);
    }
    return value;
}

// Four features rounded to 16-bit integers.
inline void store(int16_t* to, Vec4 value) {
    const __m128i rounded = _mm_cvtps_epi32((__m128)value);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi32(rounded, rounded));
}

}  // namespace avatarkit::AK_ISA

#endif
