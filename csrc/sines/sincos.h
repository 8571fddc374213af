// Sine and cosine of vectors. Include only in *_cpu.cpp.
#pragma once

#include "common/simd.h"

namespace avatarkit::AK_ISA {

// x minus the nearest multiple k of pi, and the sign (-1)^k of sine and cosine there; |x| < 1e4.
inline Vec reduced(Vec x, VecInt& sign) {
    const Vec magic = splat(12582912.f);  // adding 1.5 * 2^23 rounds to the nearest integer
    const Vec shifted = x * splat(0.318309886183790672f) + magic;
    const Vec k = shifted - magic;
    sign = (VecInt)shifted << 31;
    // pi in three parts (Cody and Waite): the first two have few bits, so that their products are exact
    return ((x - k * splat(3.140625f)) - k * splat(9.67502593994140625e-4f)) - k * splat(1.509957990978376432e-7f);
}

inline Vec signed_by(Vec value, VecInt sign) { return (Vec)((VecInt)value ^ sign); }

// Within 2e-7 for |x| < 1e3.
inline Vec sine(Vec x) {
    VecInt sign;
    const Vec r = reduced(x, sign), s = r * r;
    Vec p = splat(-2.50521083854e-8f);
    p = p * s + splat(2.75573192240e-6f);
    p = p * s - splat(1.98412698413e-4f);
    p = p * s + splat(8.33333333333e-3f);
    p = p * s - splat(1.66666666667e-1f);
    return signed_by(p * s * r + r, sign);
}

inline Vec cosine(Vec x) {
    VecInt sign;
    const Vec r = reduced(x, sign), s = r * r;
    Vec p = splat(2.08767569879e-9f);
    p = p * s - splat(2.75573192240e-7f);
    p = p * s + splat(2.48015873016e-5f);
    p = p * s - splat(1.38888888889e-3f);
    p = p * s + splat(4.16666666667e-2f);
    p = p * s - splat(0.5f);
    return signed_by(p * s + splat(1.f), sign);
}

}  // namespace avatarkit::AK_ISA
