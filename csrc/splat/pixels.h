// Blocks of pixels between memory, where a pixel's four channels lie together, and vectors of one channel.
// Include only in *_cpu.cpp.
#pragma once

#include "splat/tile.h"
#include "splat/transpose.h"

namespace avatarkit::AK_ISA {

// Red, green, blue and alpha of a block.
struct Channels {
    Vec of[4];
};

// The same, pixel by pixel: [rows][4 pixels][4 channels].
struct Pixels {
    Vec4 of[kBlockHeight][kBlockWidth];
};

#ifdef AK_AVX512
inline Pixels to_pixels(const Channels& channels) {
    __m512 v[4];
    std::memcpy(v, channels.of, sizeof v);
    transpose_within(v);
    transpose_quarters(v);
    Pixels pixels;
    std::memcpy(pixels.of, v, sizeof pixels.of);
    return pixels;
}

inline Channels to_channels(const Pixels& pixels) {
    __m512 v[4];
    std::memcpy(v, pixels.of, sizeof v);
    transpose_quarters(v);
    transpose_within(v);
    Channels channels;
    std::memcpy(channels.of, v, sizeof channels.of);
    return channels;
}
#else
inline Pixels to_pixels(const Channels& channels) {
    Pixels pixels;
    for (int i = 0; i < kLanes; ++i)
        for (int c = 0; c < 4; ++c) pixels.of[i / kBlockWidth][i % kBlockWidth][c] = channels.of[c][i];
    return pixels;
}

inline Channels to_channels(const Pixels& pixels) {
    Channels channels;
    for (int i = 0; i < kLanes; ++i)
        for (int c = 0; c < 4; ++c) channels.of[c][i] = pixels.of[i / kBlockWidth][i % kBlockWidth][c];
    return channels;
}
#endif

// Where block k of the tile at (left, top) lies, and how much of it is inside the image.
struct BlockPlace {
    int x, y, width, height;

    BlockPlace(const SplatScene& scene, int left, int top, int k) {
        const auto inside = [](int room, int most) { return room < 0 ? 0 : room < most ? room : most; };
        x = left + k % kBlocksAcross * kBlockWidth, y = top + k / kBlocksAcross * kBlockHeight;
        width = inside(scene.width - x, kBlockWidth), height = width == 0 ? 0 : inside(scene.height - y, kBlockHeight);
    }
};

// A block of an image [H][W][4], zero outside of it.
inline Channels load_block(const float* image, int64_t image_width, const BlockPlace& place) {
    Pixels pixels;
    if (place.width < kBlockWidth || place.height < kBlockHeight) std::memset(pixels.of, 0, sizeof pixels.of);
    for (int j = 0; j < place.height; ++j) {
        const float* row = image + ((place.y + j) * image_width + place.x) * 4;
        if (place.width == kBlockWidth) std::memcpy(pixels.of[j], row, sizeof pixels.of[j]);
        else std::memcpy(pixels.of[j], row, place.width * sizeof(Vec4));
    }
    return to_channels(pixels);
}

}  // namespace avatarkit::AK_ISA
