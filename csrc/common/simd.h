// Vectors of the compiled instruction set's width, in the compiler's own vector types: the same source serves
// AVX-512, AVX2 and NEON. Include only in *_cpu.cpp, which are compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace avatarkit::AK_ISA {

#ifdef AK_AVX512
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef int32_t VecInt __attribute__((vector_size(4 * kLanes)));
typedef float Vec4 __attribute__((vector_size(16)));

template <class V = Vec>
inline V load(const float* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class V>
inline void store(float* p, V v) {
    std::memcpy(p, &v, sizeof v);
}

inline Vec splat(float x) { return x - Vec{}; }
inline Vec4 splat4(float x) { return x - Vec4{}; }
inline Vec select(VecInt mask, Vec a, Vec b) { return (Vec)((mask & (VecInt)a) | (~mask & (VecInt)b)); }
#ifdef AK_AVX512
inline Vec smaller(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }
inline Vec larger(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
inline Vec root(Vec a) { return (Vec)_mm512_sqrt_ps((__m512)a); }
inline float sum(Vec v) { return _mm512_reduce_add_ps((__m512)v); }
#elif defined(__AVX2__)
inline Vec smaller(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
inline Vec larger(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
inline Vec root(Vec a) { return (Vec)_mm256_sqrt_ps((__m256)a); }
inline float sum(Vec v) {
    const __m256 all = (__m256)v;
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#else
inline Vec smaller(Vec a, Vec b) { return select(a < b, a, b); }
inline Vec larger(Vec a, Vec b) { return select(a > b, a, b); }
inline Vec root(Vec a) {
    for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
inline float sum(Vec v) {
    float s = 0.f;
    for (int i = 0; i < kLanes; ++i) s += v[i];
    return s;
}
#endif

// 1 / x within 2^-22: an estimate and a step of Newton's. A quarter of a division's time.
inline Vec reciprocal(Vec x) {
#if defined(AK_AVX512)
    const Vec y = (Vec)_mm512_rcp14_ps((__m512)x);
#elif defined(__AVX2__)
    const Vec y = (Vec)_mm256_rcp_ps((__m256)x);
#else
    const Vec y = splat(1.f) / x;
#endif
    return y * (splat(2.f) - x * y);
}

// 1 / sqrt(x) within 2^-21, in the same way; x is positive and no denormal.
inline Vec reciprocal_root(Vec x) {
#if defined(AK_AVX512)
    const Vec y = (Vec)_mm512_rsqrt14_ps((__m512)x);
#elif defined(__AVX2__)
    const Vec y = (Vec)_mm256_rsqrt_ps((__m256)x);
#else
    const Vec y = splat(1.f) / root(x);
#endif
    return y * (splat(1.5f) - splat(0.5f) * x * y * y);
}

// e^x within 2 ulp for x in [-87, 88]; arguments beyond are clamped to that range.
inline Vec exponential(Vec x) {
    x = smaller(larger(x, splat(-87.f)), splat(88.f));
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, which then sits in the low mantissa bits.
    const Vec magic = splat(12582912.f);
    const Vec shifted = x * splat(1.44269504088896341f) + magic;
    const Vec n = shifted - magic;
    const Vec r = (x - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
    // Cephes' expf polynomial (Moshier 1989).
    Vec p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    const Vec value = p * r * r + r + splat(1.f);
    const VecInt power = ((VecInt)shifted - (VecInt)magic + 127) << 23;
    return value * (Vec)power;
}

// log2 x within 2e-7 for positive x that are no denormals; anything, but no exception, for others.
inline Vec logarithm2(Vec x) {
    // x = m 2^n with m between the roots of 1/2 and 2, and log m by its series in s = (m - 1) / (m + 1).
    const VecInt bits = (VecInt)x - 0x3f3504f3, n = bits >> 23;
    const Vec m = (Vec)((bits & 0x7fffff) + 0x3f3504f3);
    const Vec s = (m - splat(1.f)) / (m + splat(1.f)), t = s * s;
    Vec p = splat(0.41219858f);  // 2 / (7 ln 2), and so on
    p = p * t + splat(0.57707802f);
    p = p * t + splat(0.96179669f);
    p = p * t + splat(2.88539008f);
    return p * s + __builtin_convertvector(n, Vec);
}

// Working memory of one thread, on a cache line. Plain allocation rather than a std container: code of a standard
// template compiled here for AVX-512 might be linked into callers on machines without it.
template <class T>
class Scratch {
  public:
    explicit Scratch(int64_t count) : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))) {
        if (data_ == nullptr) throw std::bad_alloc();
    }
    ~Scratch() { std::free(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    operator T*() const { return data_; }

  private:
    T* data_;
};

}  // namespace avatarkit::AK_ISA
