// Colors of kLanes pixels at a time: bytes of memory to vectors of floats and back. Include only in *_cpu.cpp.
// Every function reads or writes `count` <= kLanes pixels and nothing beyond them.
#pragma once

#include "common/simd.h"

namespace avatarkit::AK_ISA {

struct Color {
    Vec red, green, blue, alpha;
};

inline Vec counting() {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = static_cast<float>(i);
    return v;
}

inline Vec to_float(VecInt v) { return __builtin_convertvector(v, Vec); }
inline VecInt to_int(Vec v) { return __builtin_convertvector(v, VecInt); }  // towards zero

inline bool any(VecInt mask) {
#ifdef AK_AVX512
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t all = 0;
    for (int i = 0; i < kLanes; ++i) all |= mask[i];
    return all != 0;
#endif
}

inline VecInt gather(const uint8_t* base, VecInt index) {
#ifdef AK_AVX512
    return (VecInt)_mm512_i32gather_epi32((__m512i)index, base, 4);
#elif defined(__AVX2__)
    return (VecInt)_mm256_i32gather_epi32(reinterpret_cast<const int*>(base), (__m256i)index, 4);
#else
    VecInt v;
    for (int i = 0; i < kLanes; ++i) std::memcpy(reinterpret_cast<char*>(&v) + 4 * i, base + 4 * static_cast<int64_t>(index[i]), 4);
    return v;
#endif
}

inline Color unpacked(VecInt rgba) {
    return {to_float(rgba & 255), to_float((rgba >> 8) & 255), to_float((rgba >> 16) & 255), to_float((rgba >> 24) & 255)};
}

// [count, 4] bytes.
inline VecInt load_pixels(const uint8_t* p, int64_t count) {
    VecInt v{};
    if (count == kLanes)
        std::memcpy(&v, p, sizeof v);
    else
        std::memcpy(&v, p, 4 * count);
    return v;
}

template <class T>
inline Vec load_small(const T* p, int64_t count) {
    typedef T Small __attribute__((vector_size(kLanes * sizeof(T))));
    Small small{};
    if (count == kLanes)
        std::memcpy(&small, p, sizeof small);
    else
        std::memcpy(&small, p, count * sizeof(T));
    return __builtin_convertvector(small, Vec);
}

inline Vec load_bytes(const uint8_t* p, int64_t count) { return load_small(p, count); }
inline Vec load_shorts(const int16_t* p, int64_t count) { return load_small(p, count); }

// 0..255, to the nearest.
inline VecInt to_levels(Vec v) { return to_int(smaller(larger(v, Vec{}), splat(255.f)) + 0.5f); }

inline void store_bytes(uint8_t* p, Vec v, int64_t count) {
    typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
    const Bytes bytes = __builtin_convertvector(to_levels(v), Bytes);
    if (count == kLanes)
        std::memcpy(p, &bytes, sizeof bytes);
    else
        std::memcpy(p, &bytes, count);
}

// [count, 3] bytes.
inline Color load_rgb(const uint8_t* p, int64_t count) {
    uint8_t bytes[3 * kLanes + 16];
    if (count == kLanes)
        std::memcpy(bytes, p, 3 * kLanes);
    else
        std::memcpy(bytes, p, 3 * count);
#ifdef __AVX2__
    // Four pixels at a time: their twelve bytes spread to sixteen.
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    VecInt rgb;
    for (int i = 0; i < kLanes / 4; ++i) {
        const __m128i four = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 12 * i)), spread);
        std::memcpy(reinterpret_cast<char*>(&rgb) + 16 * i, &four, 16);
    }
    return unpacked(rgb);
#else
    Color color{};
    for (int i = 0; i < kLanes; ++i) {
        color.red[i] = bytes[3 * i];
        color.green[i] = bytes[3 * i + 1];
        color.blue[i] = bytes[3 * i + 2];
    }
    return color;
#endif
}

inline void store_rgb(uint8_t* p, Vec red, Vec green, Vec blue, int64_t count) {
    const VecInt rgb = to_levels(red) | (to_levels(green) << 8) | (to_levels(blue) << 16);
    uint8_t bytes[3 * kLanes + 16];
#ifdef __AVX2__
    const __m128i close = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (int i = 0; i < kLanes / 4; ++i) {
        __m128i four;
        std::memcpy(&four, reinterpret_cast<const char*>(&rgb) + 16 * i, 16);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + 12 * i), _mm_shuffle_epi8(four, close));
    }
#else
    for (int i = 0; i < kLanes; ++i)
        for (int k = 0; k < 3; ++k) bytes[3 * i + k] = static_cast<uint8_t>(rgb[i] >> (8 * k));
#endif
    if (count == kLanes)
        std::memcpy(p, bytes, 3 * kLanes);
    else
        std::memcpy(p, bytes, 3 * count);
}

// Bilinear lookup in a picture [rows, columns, 4], clamped at its border.
class Texture {
  public:
    Texture(const uint8_t* texels, int64_t rows, int64_t columns)
        : texels_(texels), columns_(static_cast<int32_t>(columns)),
          right_(columns > 1 ? 1 : 0), down_(rows > 1 ? static_cast<int32_t>(columns) : 0),
          last_x_(static_cast<float>(columns - 1)), last_y_(static_cast<float>(rows - 1)),
          most_x_(static_cast<int32_t>(columns > 1 ? columns - 2 : 0)),
          most_y_(static_cast<int32_t>(rows > 1 ? rows - 2 : 0)) {}

    Color at(Vec u, Vec v) const {
        const Vec x = smaller(larger(u - 0.5f, Vec{}), splat(last_x_));
        const Vec y = smaller(larger(v - 0.5f, Vec{}), splat(last_y_));
        VecInt column = to_int(x), row = to_int(y);
        column = column < most_x_ ? column : most_x_ + VecInt{};
        row = row < most_y_ ? row : most_y_ + VecInt{};
        const Vec fx = x - to_float(column), fy = y - to_float(row);
        const VecInt index = row * columns_ + column;
        const Color a = unpacked(gather(texels_, index)), b = unpacked(gather(texels_, index + right_));
        const Color c = unpacked(gather(texels_, index + down_)), d = unpacked(gather(texels_, index + down_ + right_));
        const auto mixed = [&](Vec p, Vec q, Vec r, Vec s) {
            const Vec upper = p + fx * (q - p), lower = r + fx * (s - r);
            return upper + fy * (lower - upper);
        };
        return {mixed(a.red, b.red, c.red, d.red), mixed(a.green, b.green, c.green, d.green),
                mixed(a.blue, b.blue, c.blue, d.blue), mixed(a.alpha, b.alpha, c.alpha, d.alpha)};
    }

  private:
    const uint8_t* texels_;
    int32_t columns_, right_, down_;
    float last_x_, last_y_;
    int32_t most_x_, most_y_;
};

}  // namespace avatarkit::AK_ISA
