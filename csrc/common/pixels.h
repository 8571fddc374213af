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

// Which of the lanes are meant.
#ifdef AK_AVX512
typedef __mmask16 Mask;
inline Mask above(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
inline Mask at_least(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
inline bool any(Mask mask) { return mask != 0; }
inline bool marked(Mask mask, int64_t lane) { return mask >> lane & 1; }
inline Vec where(Mask mask, Vec v) { return (Vec)_mm512_maskz_mov_ps(mask, (__m512)v); }
inline void store_where(Mask mask, float* p, Vec v) { _mm512_mask_storeu_ps(p, mask, (__m512)v); }
#else
typedef VecInt Mask;
inline Mask above(Vec a, Vec b) { return a > b; }
inline Mask at_least(Vec a, Vec b) { return a >= b; }
inline bool any(Mask mask) {
#ifdef __AVX2__
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    int32_t all = 0;
    for (int i = 0; i < kLanes; ++i) all |= mask[i];
    return all != 0;
#endif
}
inline bool marked(Mask mask, int64_t lane) { return mask[lane] != 0; }
inline Vec where(Mask mask, Vec v) { return (Vec)(mask & (VecInt)v); }
inline void store_where(Mask mask, float* p, Vec v) { store(p, select(mask, v, load(p))); }
#endif

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

#ifdef AK_AVX512
// Where the three words of four pixels' bytes go, in each quarter of a vector.
inline __m512i spread_rgb() { return _mm512_setr_epi32(0, 1, 2, 12, 3, 4, 5, 12, 6, 7, 8, 12, 9, 10, 11, 12); }
#endif

// [count, 3] bytes.
inline Color load_rgb(const uint8_t* p, int64_t count) {
#ifdef AK_AVX512
    if (count == kLanes) {
        const __m512i bytes = _mm512_permutexvar_epi32(spread_rgb(), _mm512_maskz_loadu_epi32(0x0fff, p));
        const __m512i spread = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
        return unpacked((VecInt)_mm512_shuffle_epi8(bytes, spread));
    }
#endif
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
#ifdef AK_AVX512
    if (count == kLanes) {
        const __m512i close = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
        const __m512i joined = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
        const __m512i bytes = _mm512_permutexvar_epi32(joined, _mm512_shuffle_epi8((__m512i)rgb, close));
        _mm512_mask_storeu_epi32(p, 0x0fff, bytes);
        return;
    }
#endif
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

    // The four texels around each place, and where between them it lies.
    struct Taps {
        VecInt upper_left, upper_right, lower_left, lower_right;
        Vec fx, fy;

        // Whether all of them are 0: of colors times alpha, nothing to be seen.
        bool blank() const {
            const VecInt all = upper_left | upper_right | lower_left | lower_right;
#ifdef AK_AVX512
            return _mm512_test_epi32_mask((__m512i)all, (__m512i)all) == 0;
#else
            return !any(all != 0);
#endif
        }

        Color mixed() const {
            const Color a = unpacked(upper_left), b = unpacked(upper_right);
            const Color c = unpacked(lower_left), d = unpacked(lower_right);
            const auto between = [&](Vec p, Vec q, Vec r, Vec s) {
                const Vec upper = p + fx * (q - p), lower = r + fx * (s - r);
                return upper + fy * (lower - upper);
            };
            return {between(a.red, b.red, c.red, d.red), between(a.green, b.green, c.green, d.green),
                    between(a.blue, b.blue, c.blue, d.blue), between(a.alpha, b.alpha, c.alpha, d.alpha)};
        }
    };

    Taps taps(Vec u, Vec v) const {
        const Vec x = smaller(larger(u - 0.5f, Vec{}), splat(last_x_));
        const Vec y = smaller(larger(v - 0.5f, Vec{}), splat(last_y_));
        VecInt column = to_int(x), row = to_int(y);
        column = column < most_x_ ? column : most_x_ + VecInt{};
        row = row < most_y_ ? row : most_y_ + VecInt{};
        Taps taps;
        taps.fx = x - to_float(column);
        taps.fy = y - to_float(row);
        const VecInt index = row * columns_ + column;
        gather_pair(index, taps.upper_left, taps.upper_right);
        gather_pair(index + down_, taps.lower_left, taps.lower_right);
        return taps;
    }

    Color at(Vec u, Vec v) const { return taps(u, v).mixed(); }

  private:
    // The texels at `index` and to their right.
    void gather_pair(VecInt index, VecInt& left, VecInt& right) const {
#ifdef AK_AVX512
        if (right_ == 1) {  // both lie in one row: half as many loads, of eight bytes
            const auto lower = _mm512_castsi512_si256((__m512i)index);
            const auto upper = _mm512_extracti64x4_epi64((__m512i)index, 1);
            const __m512i first = _mm512_i32gather_epi64(lower, texels_, 4), second = _mm512_i32gather_epi64(upper, texels_, 4);
            const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            left = (VecInt)_mm512_permutex2var_epi32(first, even, second);
            right = (VecInt)_mm512_permutex2var_epi32(first, _mm512_add_epi32(even, _mm512_set1_epi32(1)), second);
            return;
        }
#endif
        left = gather(texels_, index);
        right = gather(texels_, index + right_);
    }

    const uint8_t* texels_;
    int32_t columns_, right_, down_;
    float last_x_, last_y_;
    int32_t most_x_, most_y_;
};

}  // namespace avatarkit::AK_ISA
