// Blends the splats of every tile front to back.
#include <algorithm>

#include "common/threads.h"
#include "splat/splat.h"
#include "splat/tile.h"

namespace avatarkit::AK_ISA {
namespace {

// Pixels of a tile: what still passes, and color times alpha.
struct Tile {
    Vec passing[kBlocks], red[kBlocks], green[kBlocks], blue[kBlocks];
};

inline bool opaque(const Vec* passing) {
    Vec most = passing[0];
    for (int k = 1; k < kBlocks; ++k) most = larger(most, passing[k]);
    return !any(at_least(most, splat(kLeastTransmittance)));
}

Tile blend_tile(const SplatRecord* splats, const uint32_t* list, int64_t count, int left, int top) {
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
        const TileLevels levels(s, x, y);
#pragma GCC unroll 8
        for (int k = 0; k < kBlocks; ++k) {
            const Vec level = levels(k % kBlocksAcross, k / kBlocksAcross);
            const Mask counts =
                at_least(at_least(level, splat(kLeastLevel)), t.passing[k], splat(kLeastTransmittance));
            const Vec weight = keep(counts, t.passing[k] * exponential2(level));
            t.passing[k] -= weight;
            t.red[k] += weight * splat(s.red);
            t.green[k] += weight * splat(s.green);
            t.blue[k] += weight * splat(s.blue);
        }
        if (n % 16 == 15 && opaque(t.passing)) break;
    }
    return t;
}

// Four pixels of four channels, from channels to pixels.
inline void transpose(Vec4& a, Vec4& b, Vec4& c, Vec4& d) {
    typedef int32_t Shuffle __attribute__((vector_size(16)));
    const Vec4 ab_low = __builtin_shuffle(a, b, Shuffle{0, 4, 1, 5}), ab_high = __builtin_shuffle(a, b, Shuffle{2, 6, 3, 7});
    const Vec4 cd_low = __builtin_shuffle(c, d, Shuffle{0, 4, 1, 5}), cd_high = __builtin_shuffle(c, d, Shuffle{2, 6, 3, 7});
    a = __builtin_shuffle(ab_low, cd_low, Shuffle{0, 1, 4, 5}), b = __builtin_shuffle(ab_low, cd_low, Shuffle{2, 3, 6, 7});
    c = __builtin_shuffle(ab_high, cd_high, Shuffle{0, 1, 4, 5}), d = __builtin_shuffle(ab_high, cd_high, Shuffle{2, 3, 6, 7});
}

// Calls put(x, y, pixels, count): a run of at most four pixels of a tile, [4][4] floats, inside the image.
template <class Put>
inline void each_run(const SplatScene& scene, const Tile& t, int left, int top, Put&& put) {
    static_assert(kBlockWidth == 4);
    for (int k = 0; k < kBlocks; ++k) {
        const int x = left + k % kBlocksAcross * kBlockWidth, count = std::min(kBlockWidth, scene.width - x);
        if (count <= 0) continue;
        const Vec alpha = splat(1.f) - t.passing[k];
        for (int j = 0; j < kBlockHeight; ++j) {
            const int y = top + k / kBlocksAcross * kBlockHeight + j;
            if (y >= scene.height) break;
            Vec4 run[4];
            const Vec* channels[4] = {&t.red[k], &t.green[k], &t.blue[k], &alpha};
            for (int c = 0; c < 4; ++c) std::memcpy(&run[c], reinterpret_cast<const float*>(channels[c]) + 4 * j, sizeof run[c]);
            transpose(run[0], run[1], run[2], run[3]);
            put(x, y, run, count);
        }
    }
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

inline Tile blend_tile(const SplatFrame& frame, int64_t tile, int left, int top) {
    const uint32_t begin = frame.tiles[tile];
    return blend_tile(frame.splats, frame.entries + begin, frame.tiles[tile + 1] - begin, left, top);
}

}  // namespace

void splat_image(const SplatScene& scene, const SplatFrame& frame, float* image) {
    each_tile(frame, [&](int64_t tile, int left, int top) {
        each_run(scene, blend_tile(frame, tile, left, top), left, top, [&](int x, int y, const Vec4* run, int count) {
            std::memcpy(image + (static_cast<int64_t>(y) * scene.width + x) * 4, run, count * sizeof(Vec4));
        });
    });
}

void splat_compose(const SplatScene& scene, const SplatFrame& frame, const SplatBackground& background,
                   uint8_t* pixels) {
    each_tile(frame, [&](int64_t tile, int left, int top) {
        each_run(scene, blend_tile(frame, tile, left, top), left, top, [&](int x, int y, const Vec4* run, int count) {
            const int64_t at = (static_cast<int64_t>(y) * scene.width + x) * 3;
            for (int i = 0; i < count; ++i) {
                Vec4 behind{};
                for (int c = 0; c < 3; ++c)
                    behind[c] = background.bytes ? static_cast<float>(background.bytes[at + 3 * i + c])
                                                 : 255.f * background.floats[at + 3 * i + c];
                const Vec4 value = run[i] * splat4(255.f) + splat4(1.f - run[i][3]) * behind + splat4(0.5f);
                for (int c = 0; c < 3; ++c)
                    pixels[at + 3 * i + c] = static_cast<uint8_t>(std::min(std::max(value[c], 0.f), 255.f));
            }
        });
    });
}

}  // namespace avatarkit::AK_ISA
