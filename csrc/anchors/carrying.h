// One vector of Gaussians carried by their bones, and its gradients. Include only in *_cpu.cpp.
#pragma once

#include "anchors/anchors.h"
#include "common/simd.h"

namespace avatarkit::AK_ISA {

// One vector of Gaussians: `at` begins it, lanes beyond `count` repeat the last one.
struct Lanes {
    int64_t at;
    int used;

    Lanes(int64_t begin, int64_t count) : at(begin), used(count - begin < kLanes ? static_cast<int>(count - begin) : kLanes) {}
    int64_t index(int lane) const { return at + (lane < used ? lane : used - 1); }
};

inline Vec fetch(const float* channel, const Lanes& l) {
    if (l.used == kLanes) return load(channel + l.at);
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = channel[l.index(i)];
    return v;
}

inline VecInt fetch(const int32_t* channel, const Lanes& l) {
    VecInt v;
    if (l.used == kLanes) std::memcpy(&v, channel + l.at, sizeof v);
    else for (int i = 0; i < kLanes; ++i) v[i] = channel[l.index(i)];
    return v;
}

inline Vec gather(const float* row, VecInt which) {
#if defined(AK_AVX512)
    return (Vec)_mm512_i32gather_ps((__m512i)which, row, 4);
#elif defined(__AVX2__)
    return (Vec)_mm256_i32gather_ps(row, (__m256i)which, 4);
#else
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = row[which[i]];
    return v;
#endif
}

// Component `part` of `parts` in an array of structures.
inline Vec fetch_struct(const float* array, int parts, int part, const Lanes& l) {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = array[l.index(i) * parts + part];
    return v;
}

inline void put_struct(float* array, int parts, int part, const Lanes& l, Vec v) {
    for (int i = 0; i < l.used; ++i) array[(l.at + i) * parts + part] = v[i];
}

inline void put(float* channel, const Lanes& l, Vec v) {
    if (l.used == kLanes) return store(channel + l.at, v);
    for (int i = 0; i < l.used; ++i) channel[l.at + i] = v[i];
}

inline Vec sigmoid(Vec x) { return splat(1.f) / (splat(1.f) + exponential(-x)); }

struct Shape {
    Vec turn[3][3];   // rotation of the quaternion
    Vec scale[3];
    Vec quaternion[4], inverse_norm;
    Vec map[3][4];    // the bone
    Vec factor[3][3];  // map * turn * diag(scale): covariance = factor factor^T
};

inline Shape shape_of(const Rigged& r, const Lanes& l) {
    Shape s;
    const VecInt bone = fetch(r.bone, l);
    Vec norm = splat(1e-12f);
    for (int i = 0; i < 4; ++i) {
        s.quaternion[i] = fetch(r.gaussians + (7 + i) * r.count, l);
        norm += s.quaternion[i] * s.quaternion[i];
    }
    s.inverse_norm = splat(1.f) / root(norm);
    for (auto& q : s.quaternion) q *= s.inverse_norm;
    const Vec w = s.quaternion[0], x = s.quaternion[1], y = s.quaternion[2], z = s.quaternion[3];
    const Vec two = splat(2.f), one = splat(1.f);
    s.turn[0][0] = one - two * (y * y + z * z);
    s.turn[0][1] = two * (x * y - w * z);
    s.turn[0][2] = two * (x * z + w * y);
    s.turn[1][0] = two * (x * y + w * z);
    s.turn[1][1] = one - two * (x * x + z * z);
    s.turn[1][2] = two * (y * z - w * x);
    s.turn[2][0] = two * (x * z - w * y);
    s.turn[2][1] = two * (y * z + w * x);
    s.turn[2][2] = one - two * (x * x + y * y);
    for (int i = 0; i < 3; ++i) {
        s.scale[i] = exponential(fetch(r.gaussians + (11 + i) * r.count, l));
        for (int j = 0; j < 4; ++j) s.map[i][j] = gather(r.bones + (4 * i + j) * r.bone_count, bone);
    }
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            const Vec turned = s.map[i][0] * s.turn[0][j] + s.map[i][1] * s.turn[1][j] + s.map[i][2] * s.turn[2][j];
            s.factor[i][j] = turned * s.scale[j];
        }
    return s;
}

// Gaussians in camera space, or gradients by them: covariance xx xy xz yy yz zz.
struct Carried {
    Vec mean[3], covariance[6], color[3], opacity;
};

constexpr int kPair[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};


inline Carried carried(const Rigged& r, const Shape& s, const Lanes& l) {
    Carried c;
    Vec p[3];
    for (int i = 0; i < 3; ++i) {
        p[i] = fetch(r.gaussians + i * r.count, l);
        c.color[i] = fetch(r.gaussians + (4 + i) * r.count, l);
    }
    for (int i = 0; i < 3; ++i)
        c.mean[i] = s.map[i][0] * p[0] + s.map[i][1] * p[1] + s.map[i][2] * p[2] + s.map[i][3];
    for (int k = 0; k < 6; ++k) {
        const auto& a = s.factor[kPair[k][0]];
        const auto& b = s.factor[kPair[k][1]];
        c.covariance[k] = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    }
    c.opacity = sigmoid(fetch(r.gaussians + 3 * r.count, l)) * fetch(r.visibility, l);
    return c;
}

// From gradients `g` by what is carried to those by the Gaussians, [14][N] at `gradient`.
inline void put_gradient(const Rigged& r, const Shape& s, const Lanes& l, const Carried& g, float* gradient) {
    for (int i = 0; i < 3; ++i) {
        put(gradient + i * r.count, l, s.map[0][i] * g.mean[0] + s.map[1][i] * g.mean[1] + s.map[2][i] * g.mean[2]);
        put(gradient + (4 + i) * r.count, l, g.color[i]);
    }
    const Vec opaque = sigmoid(fetch(r.gaussians + 3 * r.count, l));
    put(gradient + 3 * r.count, l, g.opacity * fetch(r.visibility, l) * opaque * (splat(1.f) - opaque));
    // d/d factor of <G, factor factor^T> with the symmetric G whose off-diagonal entries are halved.
    Vec symmetric[3][3];
    for (int k = 0; k < 6; ++k) {
        const int row = kPair[k][0], column = kPair[k][1];
        const Vec value = g.covariance[k] * splat(row == column ? 2.f : 1.f);
        symmetric[row][column] = symmetric[column][row] = value;
    }
    Vec by_factor[3][3], by_turn[3][3];
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j)
            by_factor[i][j] = symmetric[i][0] * s.factor[0][j] + symmetric[i][1] * s.factor[1][j] +
                              symmetric[i][2] * s.factor[2][j];
    for (int j = 0; j < 3; ++j) {
        Vec by_scale = splat(0.f);
        for (int i = 0; i < 3; ++i) {
            const Vec unmapped = s.map[0][i] * by_factor[0][j] + s.map[1][i] * by_factor[1][j] +
                                 s.map[2][i] * by_factor[2][j];
            by_turn[i][j] = unmapped * s.scale[j];
            by_scale += by_turn[i][j] * s.turn[i][j];
        }
        put(gradient + (11 + j) * r.count, l, by_scale);
    }
    const Vec w = s.quaternion[0], x = s.quaternion[1], y = s.quaternion[2], z = s.quaternion[3];
    const Vec two = splat(2.f), four = splat(4.f);
    const auto& b = by_turn;
    Vec by_quaternion[4];
    by_quaternion[0] = two * (z * (b[1][0] - b[0][1]) + y * (b[0][2] - b[2][0]) + x * (b[2][1] - b[1][2]));
    by_quaternion[1] = two * (y * (b[0][1] + b[1][0]) + z * (b[0][2] + b[2][0]) + w * (b[2][1] - b[1][2])) -
                       four * x * (b[1][1] + b[2][2]);
    by_quaternion[2] = two * (x * (b[0][1] + b[1][0]) + z * (b[1][2] + b[2][1]) + w * (b[0][2] - b[2][0])) -
                       four * y * (b[0][0] + b[2][2]);
    by_quaternion[3] = two * (x * (b[0][2] + b[2][0]) + y * (b[1][2] + b[2][1]) + w * (b[1][0] - b[0][1])) -
                       four * z * (b[0][0] + b[1][1]);
    Vec along = splat(0.f);
    for (int i = 0; i < 4; ++i) along += by_quaternion[i] * s.quaternion[i];
    for (int i = 0; i < 4; ++i)
        put(gradient + (7 + i) * r.count, l, (by_quaternion[i] - along * s.quaternion[i]) * s.inverse_norm);
}

}  // namespace avatarkit::AK_ISA
