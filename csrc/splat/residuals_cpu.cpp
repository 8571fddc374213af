// Linear residuals of Gaussians' channels, from three ways of storing them.
#include <algorithm>

#include "common/simd.h"
#include "common/threads.h"
#include "splat/splat.h"

namespace avatarkit::AK_ISA {
namespace {

inline Vec widen(const float* from) { return load(from); }

// Written out because GCC 12 converts narrow vectors element by element.
#ifdef AK_AVX512
inline Vec widen(const int8_t* from) {
    return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline Vec widen(const uint16_t* from) {
    return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
#elif defined(__AVX2__)
inline Vec widen(const int8_t* from) {
    return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
inline Vec widen(const uint16_t* from) {
    return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
#else
inline Vec widen(const int8_t* from) {
    typedef int8_t Narrow __attribute__((vector_size(kLanes)));
    Narrow v;
    std::memcpy(&v, from, sizeof v);
    return __builtin_convertvector(v, Vec);
}
inline Vec widen(const uint16_t* from) {
    Vec v;
    for (int i = 0; i < kLanes; ++i) {
        // The bits of a half in those of a float, whose exponent is 112 larger: a product sets that right, and makes
        // subnormal numbers normal.
        const uint32_t half = from[i], bits = (half & 0x7fff) << 13 | (half & 0x8000) << 16;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        value *= 0x1p112f;
        if ((half & 0x7c00) == 0x7c00) value *= 0x1p16f;  // infinities and what is no number
        v[i] = value;
    }
    return v;
}
#endif

// One value: of halves, by way of a vector.
inline float one(float value) { return value; }
inline float one(int8_t value) { return static_cast<float>(value); }
inline float one(uint16_t value) {
    uint16_t padded[kLanes] = {value};
    return widen(padded)[0];
}

constexpr int kRows = 4;

// Calls work(at, vector of from[at...], used) over [begin, end).
template <class T, class Work>
inline void each_vector(const T* from, Range range, Work&& work) {
    int64_t at = range.begin;
    for (; at + kLanes <= range.end; at += kLanes) work(at, widen(from + at), kLanes);
    if (at < range.end) {
        T padded[kLanes] = {};
        std::copy(from + at, from + range.end, padded);
        work(at, widen(padded), static_cast<int>(range.end - at));
    }
}

template <class T>
void blend_as(const T* residual, const float* base, int64_t channels, const SplatResiduals& r,
              const float* coefficients, float* out) {
    constexpr int64_t kPart = 2048;  // floats of one channel that stay in the first-level cache
    const int64_t parts = (r.count + kPart - 1) / kPart;
    const int threads = thread_count();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t job = 0; job < channels * parts; ++job) {
        const int64_t channel = job / parts, begin = job % parts * kPart, end = std::min(begin + kPart, r.count);
        float* to = out + channel * r.count;
        std::copy(base + channel * r.count + begin, base + channel * r.count + end, to + begin);
        if (channel >= r.channels) continue;
        // Four shapes at a time, so that sums are loaded and stored once for them.
        const T* rows[kRows];
        Vec weights[kRows];
        int taken = 0;
        const auto add = [&] {
            for (int i = taken; i < kRows; ++i) rows[i] = rows[0], weights[i] = Vec{};
            each_vector(rows[0], {begin, end}, [&](int64_t at, Vec first, int used) {
                if (used == kLanes) {
                    Vec total = load(to + at) + weights[0] * first;
                    for (int i = 1; i < kRows; ++i) total += weights[i] * widen(rows[i] + at);
                    return store(to + at, total);
                }
                for (int lane = 0; lane < used; ++lane)
                    for (int i = 0; i < taken; ++i) to[at + lane] += weights[i][0] * one(rows[i][at + lane]);
            });
            taken = 0;
        };
        for (int64_t k = 0; k < r.shapes; ++k) {
            const int64_t row = k * r.channels + channel;
            const float weight = coefficients[k] * (r.scale != nullptr ? r.scale[row] : 1.f);
            if (weight == 0.f) continue;
            rows[taken] = residual + row * r.count, weights[taken] = splat(weight);
            if (++taken == kRows) add();
        }
        if (taken > 0) add();
    }
}

template <class T>
void coefficients_as(const T* residual, const SplatResiduals& r, const float* gradient, float* out) {
    const int threads = thread_count();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < r.shapes; ++k) {
        float total = 0.f;
        for (int64_t channel = 0; channel < r.channels; ++channel) {
            const int64_t row = k * r.channels + channel;
            const float* g = gradient + channel * r.count;
            Vec products{};
            float tail = 0.f;
            each_vector(residual + row * r.count, {0, r.count}, [&](int64_t at, Vec shape, int used) {
                if (used == kLanes) products += load(g + at) * shape;
                else for (int i = 0; i < used; ++i) tail += g[at + i] * shape[i];
            });
            total += (sum(products) + tail) * (r.scale != nullptr ? r.scale[row] : 1.f);
        }
        out[k] = total;
    }
}

}  // namespace

void splat_blend(const float* base, int64_t channels, const SplatResiduals& r, const float* coefficients,
                 float* out) {
    if (r.floats != nullptr) return blend_as(r.floats, base, channels, r, coefficients, out);
    if (r.halves != nullptr) return blend_as(r.halves, base, channels, r, coefficients, out);
    blend_as(r.bytes, base, channels, r, coefficients, out);
}

void splat_blend_coefficients(const SplatResiduals& r, const float* gradient, float* grad_coefficients) {
    if (r.floats != nullptr) return coefficients_as(r.floats, r, gradient, grad_coefficients);
    if (r.halves != nullptr) return coefficients_as(r.halves, r, gradient, grad_coefficients);
    coefficients_as(r.bytes, r, gradient, grad_coefficients);
}

}  // namespace avatarkit::AK_ISA
