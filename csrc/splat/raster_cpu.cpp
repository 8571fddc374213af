// Blends the splats of every tile front to back.
#include <algorithm>

#include "common/threads.h"
#include "splat/pixels.h"
#include "splat/splat.h"
#include "splat/tile.h"

namespace avatarkit::AK_ISA {
namespace {

// Pixels of a tile: what still passes, and color times alpha.
struct Tile {
    Vec passing[kBlocks], red[kBlocks], green[kBlocks], blue[kBlocks];
};

inline bool opaque(const Vec* passing, Vec least) {
    Vec most = passing[0];
    for (int k = 1; k < kBlocks; ++k) most = larger(most, passing[k]);
    return !any(at_least(most, least));
}

// What lies behind a transmittance below `least_passing` is skipped.
Tile blend_tile(const SplatRecord* splats, const uint32_t* list, int64_t count, int left, int top,
                float least_passing) {
    const Vec least = splat(least_passing);
    const BlockLanes lanes;
    Vec x[kBlocksAcross], y[kBlocksDown];
    for (int i = 0; i < kBlocksAcross; ++i) x[i] = lanes.x + splat(static_cast<float>(left + i * kBlockWidth));
    for (int j = 0; j < kBlocksDown; ++j) y[j] = lanes.y + splat(static_cast<float>(top + j * kBlockHeight));
    Tile t;
    for (int k = 0; k < kBlocks; ++k) {
        t.passing[k] = splat(1.f);
        t.red[k] = t.green[k] = t.blue[k] = Vec{};
    }
    for (int64_t n = 0; n < count; ++n) {
        const SplatRecord& s = splats[list[n]];
        __builtin_prefetch(splats + list[std::min(n + 6, count - 1)]);
        const TileLevels levels(s, x, y);
#pragma GCC unroll 8
        for (int k = 0; k < kBlocks; ++k) {
            const Vec level = levels(k % kBlocksAcross, k / kBlocksAcross);
            const Mask counts =
                at_least(at_least(level, splat(kLeastLevel)), t.passing[k], least);
            const Vec weight = keep(counts, t.passing[k] * exponential2(level));
            t.passing[k] -= weight;
            t.red[k] += weight * splat(s.red);
            t.green[k] += weight * splat(s.green);
            t.blue[k] += weight * splat(s.blue);
        }
        if (n % 8 == 7 && opaque(t.passing, least)) break;
    }
    return t;
}

// Calls put(x, y, pixels, count) for each run of at most four pixels of a tile inside the image.
template <class Put>
inline void each_run(const SplatScene& scene, const Tile& t, int left, int top, Put&& put) {
    for (int k = 0; k < kBlocks; ++k) {
        const BlockPlace place(scene, left, top, k);
        const Pixels pixels = to_pixels({{t.red[k], t.green[k], t.blue[k], splat(1.f) - t.passing[k]}});
        for (int j = 0; j < place.height; ++j) put(place.x, place.y + j, pixels.of[j], place.width);
    }
}

// `run`, color times alpha and alpha of `count` pixels, over as many of `background`, rounded.
inline void lay_over(const Vec4* run, int count, const uint8_t* background, uint8_t* pixels) {
#ifdef AK_AVX512
    // Three bytes a pixel to four, whose last is nothing, and back.
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    const __m128i packed = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const auto bytes = static_cast<__mmask16>((1u << (3 * count)) - 1);
    const __m128i behind = _mm_shuffle_epi8(_mm_maskz_loadu_epi8(bytes, background), spread);
    const __m512 full = _mm512_set1_ps(255.f), seen = _mm512_loadu_ps(reinterpret_cast<const float*>(run));
    const __m512 through = _mm512_sub_ps(_mm512_set1_ps(1.f), _mm512_permute_ps(seen, 0xff));
    const __m512 under = _mm512_mul_ps(through, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(behind)));
    const __m512 value = _mm512_add_ps(_mm512_fmadd_ps(seen, full, under), _mm512_set1_ps(0.5f));
    const __m512 kept = _mm512_min_ps(_mm512_max_ps(value, _mm512_setzero_ps()), full);
    const __m128i rounded = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(kept));
    _mm_mask_storeu_epi8(pixels, bytes, _mm_shuffle_epi8(rounded, packed));
#else
    typedef int32_t Int4 __attribute__((vector_size(16)));
    for (int i = 0; i < count; ++i) {
        const uint8_t* b = background + 3 * i;
        const Vec4 behind = __builtin_convertvector((Int4{b[0], b[1], b[2], 0}), Vec4);
        Vec4 value = run[i] * splat4(255.f) + splat4(1.f - run[i][3]) * behind + splat4(0.5f);
        value = value > Vec4{} ? value : Vec4{};
        value = value < splat4(255.f) ? value : splat4(255.f);
        const Int4 rounded = __builtin_convertvector(value, Int4);
        for (int c = 0; c < 3; ++c) pixels[3 * i + c] = static_cast<uint8_t>(rounded[c]);
    }
#endif
}

// Calls work(tile, left, top) for all tiles, each row of them by the thread that it belongs to.
template <class Work>
void each_tile(const SplatFrame& frame, Work&& work) {
    const int threads = thread_count();
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int row = 0; row < frame.down; ++row)
        for (int column = 0; column < frame.across; ++column)
            work(static_cast<int64_t>(row) * frame.across + column, column * kTileWidth, row * kTileHeight);
}

inline Tile blend_tile(const SplatFrame& frame, int64_t tile, int left, int top, float least_passing) {
    const uint32_t begin = frame.tiles[tile];
    const int64_t count = frame.tiles[tile + 1] - begin;
    return blend_tile(frame.splats, frame.entries + begin, count, left, top, least_passing);
}

}  // namespace

void splat_image(const SplatScene& scene, const SplatFrame& frame, float* image) {
    each_tile(frame, [&](int64_t tile, int left, int top) {
        const Tile blended = blend_tile(frame, tile, left, top, kLeastTransmittance);
        each_run(scene, blended, left, top, [&](int x, int y, const Vec4* run, int count) {
            float* to = image + (static_cast<int64_t>(y) * scene.width + x) * 4;
            if (count == kBlockWidth) std::memcpy(to, run, kBlockWidth * sizeof(Vec4));
            else std::memcpy(to, run, count * sizeof(Vec4));
        });
    });
}

void splat_compose(const SplatScene& scene, const SplatFrame& frame, const uint8_t* background,
                   uint8_t* pixels) {
    each_tile(frame, [&](int64_t tile, int left, int top) {
        const Tile blended = blend_tile(frame, tile, left, top, kFaintTransmittance);
        each_run(scene, blended, left, top, [&](int x, int y, const Vec4* run, int count) {
            const int64_t at = (static_cast<int64_t>(y) * scene.width + x) * 3;
            lay_over(run, count, background + at, pixels + at);
        });
    });
}

}  // namespace avatarkit::AK_ISA
