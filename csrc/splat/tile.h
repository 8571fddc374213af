// Tiles of pixels in vectors: what forward and backward passes share. Include only in *_cpu.cpp.
#pragma once

#include "common/simd.h"
#include "splat/splat.h"

namespace avatarkit::AK_ISA {

// A vector is a block of 4 x (kLanes / 4) pixels, a tile 2 x 2 blocks.
constexpr int kBlockWidth = 4, kBlockHeight = kLanes / 4;
constexpr int kBlocksAcross = 2, kBlocksDown = 2, kBlocks = kBlocksAcross * kBlocksDown;
constexpr int kTileWidth = kBlockWidth * kBlocksAcross, kTileHeight = kBlockHeight * kBlocksDown;

constexpr float kLeastLevel = -7.9943534368588578f;  // log2(1 / 255)

#ifdef AK_AVX512
using Mask = __mmask16;
inline Mask at_least(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
inline Mask at_least(Mask among, Vec a, Vec b) {
    return _mm512_mask_cmp_ps_mask(among, (__m512)a, (__m512)b, _CMP_GE_OQ);
}
inline Vec keep(Mask mask, Vec v) { return (Vec)_mm512_maskz_mov_ps(mask, (__m512)v); }
inline bool any(Mask mask) { return mask != 0; }
inline Vec inverse(Vec v) {
    const Vec guess = (Vec)_mm512_rcp14_ps((__m512)v);
    return guess * (splat(2.f) - v * guess);
}
#else
using Mask = VecInt;
inline Mask at_least(Vec a, Vec b) { return a >= b; }
inline Mask at_least(Mask among, Vec a, Vec b) { return among & (a >= b); }
inline Vec keep(Mask mask, Vec v) { return (Vec)(mask & (VecInt)v); }
#ifdef __AVX2__
inline bool any(Mask mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
#else
inline bool any(Mask mask) {
    int32_t all = 0;
    for (int i = 0; i < kLanes; ++i) all |= mask[i];
    return all != 0;
}
#endif
inline Vec inverse(Vec v) { return splat(1.f) / v; }
#endif

// 2^x within 2.6e-6 of itself for x in [-126, 0]; anything, but no exception, below.
inline Vec exponential2(Vec x) {
    const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer, see simd.h
    const Vec shifted = x + magic;
    const Vec f = x - (shifted - magic);
    Vec p = splat(0.0095701f);
    p = p * f + splat(0.05591786f);
    p = p * f + splat(0.24024745f);
    p = p * f + splat(0.69312181f);
    p = p * f + splat(0.99999926f);
    return (Vec)((VecInt)p + ((VecInt)shifted << 23));
}

struct BlockLanes {
    Vec x, y;  // pixel centers of a block's lanes, its corner being the origin
    BlockLanes() {
        for (int i = 0; i < kLanes; ++i) {
            x[i] = static_cast<float>(i % kBlockWidth) + 0.5f;
            y[i] = static_cast<float>(i / kBlockWidth) + 0.5f;
        }
    }
};

// log2 of a splat's alpha at the blocks of a tile.
struct TileLevels {
    Vec x[kBlocksAcross], y[kBlocksDown];  // pixels from the center of the splat
    Vec along[kBlocksAcross], mixed[kBlocksAcross], down[kBlocksDown];

    inline TileLevels(const SplatRecord& s, const Vec* pixel_x, const Vec* pixel_y) {
#pragma GCC unroll 4
        for (int i = 0; i < kBlocksAcross; ++i) {
            x[i] = pixel_x[i] - splat(s.x);
            along[i] = splat(s.aa) * x[i] * x[i] + splat(s.level);
            mixed[i] = splat(s.ab) * x[i];
        }
#pragma GCC unroll 4
        for (int j = 0; j < kBlocksDown; ++j) {
            y[j] = pixel_y[j] - splat(s.y);
            down[j] = splat(s.bb) * y[j];
        }
    }
    inline Vec operator()(int i, int j) const { return (mixed[i] + down[j]) * y[j] + along[i]; }
};

}  // namespace avatarkit::AK_ISA
