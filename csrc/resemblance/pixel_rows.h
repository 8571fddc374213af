// Rows of pixels between memory and rows of interleaved colors (r g b r g b ...), in which a window's taps along a row
// lie three apart whatever the channel. Include only in *_cpu.cpp.
#pragma once

#include "common/simd.h"

namespace avatarkit::AK_ISA {

constexpr float kPerByte = 1.f / 255;

inline void to_floats(const float* from, int64_t count, float* to) { std::memcpy(to, from, count * sizeof(float)); }
inline void to_floats(const uint8_t* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]) * kPerByte;
}

#ifdef AK_AVX512
// Places of the lanes of vectors that hold 16 pixels of three, or of four, channels one after another.
struct PixelLanes {
    __m512i color[3], alpha[3], repeat[3];      // out of 4-channel vectors j and j + 1; of one value a pixel
    __m512i low[3], high[3];                    // channel c of three interleaved vectors: of the first two, of the last
    __m512i packed[4], spread;                  // three channels to four; and one value a pixel to every fourth lane

    PixelLanes() {
        alignas(64) int32_t lane[5][16];
        const auto at = [&](int row) { return _mm512_load_si512(lane[row]); };
        for (int j = 0; j < 3; ++j) {
            for (int i = 0; i < 16; ++i) {
                const int pixel = (16 * j + i) / 3, channel = (16 * j + i) % 3;
                lane[0][i] = 4 * pixel + channel - 16 * j, lane[1][i] = 4 * pixel + 3 - 16 * j, lane[2][i] = pixel;
                const int source = 3 * i + j;
                lane[3][i] = source & 31, lane[4][i] = source < 32 ? i : 16 + source - 32;
            }
            color[j] = at(0), alpha[j] = at(1), repeat[j] = at(2), low[j] = at(3), high[j] = at(4);
        }
        for (int j = 0; j < 4; ++j) {
            for (int i = 0; i < 16; ++i) lane[0][i] = 12 * j + 3 * (i / 4) + i % 4 - 16 * (j < 2 ? 0 : 1);
            packed[j] = at(0);
        }
        for (int i = 0; i < 16; ++i) lane[0][i] = i / 4;
        spread = at(0);
    }
};

// Of 16 pixels of color times alpha and alpha: color over `behind`, interleaved, and alpha on its own.
inline void lay_over(const PixelLanes& lanes, const float* splats, const float* behind, float* picture, float* alpha) {
    __m512 v[4];
    for (int j = 0; j < 4; ++j) v[j] = _mm512_loadu_ps(splats + 16 * j);
    const __m512 one = _mm512_set1_ps(1.f);
    __m512 opaque[3];
    for (int j = 0; j < 3; ++j) {
        const __m512 color = _mm512_permutex2var_ps(v[j], lanes.color[j], v[j + 1]);
        opaque[j] = _mm512_permutex2var_ps(v[j], lanes.alpha[j], v[j + 1]);
        const __m512 through = _mm512_mul_ps(_mm512_sub_ps(one, opaque[j]), _mm512_loadu_ps(behind + 16 * j));
        _mm512_storeu_ps(picture + 16 * j, _mm512_add_ps(color, through));
    }
    const __m512 two = _mm512_permutex2var_ps(opaque[0], lanes.low[0], opaque[1]);
    _mm512_storeu_ps(alpha, _mm512_permutex2var_ps(two, lanes.high[0], opaque[2]));
}

// One value of each of 16 pixels, three times.
inline void repeat_thrice(const PixelLanes& lanes, const float* from, float* to) {
    const __m512 v = _mm512_loadu_ps(from);
    for (int j = 0; j < 3; ++j) _mm512_storeu_ps(to + 16 * j, _mm512_permutexvar_ps(lanes.repeat[j], v));
}

// Gradients of 16 pixels: by color, interleaved, and `by_alpha` less color times behind, to four channels.
inline void to_four(const PixelLanes& lanes, const float* by_color, const float* behind, const float* by_alpha,
                    float* gradient) {
    __m512 v[3], product[3];
    for (int j = 0; j < 3; ++j) {
        v[j] = _mm512_loadu_ps(by_color + 16 * j);
        product[j] = _mm512_mul_ps(v[j], _mm512_loadu_ps(behind + 16 * j));
    }
    __m512 alpha = _mm512_loadu_ps(by_alpha);
    for (int c = 0; c < 3; ++c) {
        const __m512 two = _mm512_permutex2var_ps(product[0], lanes.low[c], product[1]);
        alpha = _mm512_sub_ps(alpha, _mm512_permutex2var_ps(two, lanes.high[c], product[2]));
    }
    for (int j = 0; j < 4; ++j) {
        const int first = j < 2 ? 0 : 1;
        const __m512 color = _mm512_permutex2var_ps(v[first], lanes.packed[j], v[first + 1]);
        const __m512i place = _mm512_add_epi32(lanes.spread, _mm512_set1_epi32(4 * j));
        _mm512_storeu_ps(gradient + 16 * j, _mm512_mask_permutexvar_ps(color, 0x8888, place, alpha));
    }
}
#else
struct PixelLanes {};
#endif

// The same of rows of `width` pixels.
inline void lay_row_over([[maybe_unused]] const PixelLanes& lanes, const float* splats,
                         const float* behind, int64_t width, float* picture, float* alpha) {
    int64_t x = 0;
#ifdef AK_AVX512
    for (; x + kLanes <= width; x += kLanes)
        lay_over(lanes, splats + 4 * x, behind + 3 * x, picture + 3 * x, alpha + x);
#endif
    for (; x < width; ++x) {
        alpha[x] = splats[4 * x + 3];
        for (int c = 0; c < 3; ++c) picture[3 * x + c] = splats[4 * x + c] + (1 - alpha[x]) * behind[3 * x + c];
    }
}

inline void repeat_row_thrice([[maybe_unused]] const PixelLanes& lanes, const float* from, int64_t width,
                              float* to) {
    int64_t x = 0;
#ifdef AK_AVX512
    for (; x + kLanes <= width; x += kLanes) repeat_thrice(lanes, from + x, to + 3 * x);
#endif
    for (; x < width; ++x)
        for (int c = 0; c < 3; ++c) to[3 * x + c] = from[x];
}

inline void row_to_four([[maybe_unused]] const PixelLanes& lanes, const float* by_color, const float* behind,
                        const float* by_alpha, int64_t width, float* gradient) {
    int64_t x = 0;
#ifdef AK_AVX512
    for (; x + kLanes <= width; x += kLanes)
        to_four(lanes, by_color + 3 * x, behind + 3 * x, by_alpha + x, gradient + 4 * x);
#endif
    for (; x < width; ++x) {
        float alpha = by_alpha[x];
        for (int c = 0; c < 3; ++c) {
            gradient[4 * x + c] = by_color[3 * x + c];
            alpha -= by_color[3 * x + c] * behind[3 * x + c];
        }
        gradient[4 * x + 3] = alpha;
    }
}

}  // namespace avatarkit::AK_ISA
