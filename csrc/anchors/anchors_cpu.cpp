#include "anchors/anchors.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {

namespace {

// One vector of Gaussians: `at` begins it, lanes beyond `count` repeat the last one.
struct Lanes {
    int64_t at;
    int used;
    const int32_t* bone;
    int64_t last;

    int64_t index(int lane) const { return at + (lane < used ? lane : last); }
};

inline Lanes lanes_at(int64_t at, int64_t count, const int32_t* bone) {
    const int used = count - at < kLanes ? static_cast<int>(count - at) : kLanes;
    return {at, used, bone, used - 1};
}

inline Vec fetch(const float* channel, const Lanes& l) {
    if (l.used == kLanes) return load(channel + l.at);
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = channel[l.index(i)];
    return v;
}

inline Vec gather(const float* row, const Lanes& l) {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v[i] = row[l.bone[l.index(i)]];
    return v;
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

inline Shape shape_of(const float* gaussians, const float* bones, int64_t count, int64_t bone_count, const Lanes& l) {
    Shape s;
    Vec norm = splat(1e-12f);
    for (int i = 0; i < 4; ++i) {
        s.quaternion[i] = fetch(gaussians + (7 + i) * count, l);
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
        s.scale[i] = exponential(fetch(gaussians + (11 + i) * count, l));
        for (int j = 0; j < 4; ++j) s.map[i][j] = gather(bones + (4 * i + j) * bone_count, l);
    }
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            const Vec turned = s.map[i][0] * s.turn[0][j] + s.map[i][1] * s.turn[1][j] + s.map[i][2] * s.turn[2][j];
            s.factor[i][j] = turned * s.scale[j];
        }
    return s;
}

constexpr int kPair[6][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}};

}  // namespace

void deform(const float* vertices, const int32_t* triangles, const float* inverse, const float* first,
            const float* pose, int64_t count, int64_t begin, int64_t bone_count, float* bones) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += kLanes) {
        const Lanes l = lanes_at(at, count, nullptr);
        Vec corner[3][3];
        for (int c = 0; c < 3; ++c) {
            float p[3][kLanes];
            for (int i = 0; i < kLanes; ++i) {
                const float* v = vertices + 3 * triangles[3 * l.index(i) + c];
                for (int x = 0; x < 3; ++x) p[x][i] = v[x];
            }
            for (int x = 0; x < 3; ++x)
                corner[c][x] = splat(pose[4 * x]) * load(p[0]) + splat(pose[4 * x + 1]) * load(p[1]) +
                               splat(pose[4 * x + 2]) * load(p[2]) + splat(pose[4 * x + 3]);
        }
        Vec frame[3][3];  // [x][edge, edge, normal]
        for (int x = 0; x < 3; ++x) {
            frame[x][0] = corner[1][x] - corner[0][x];
            frame[x][1] = corner[2][x] - corner[0][x];
        }
        Vec norm = splat(1e-24f);
        for (int x = 0; x < 3; ++x) {
            const int y = (x + 1) % 3, z = (x + 2) % 3;
            frame[x][2] = frame[y][0] * frame[z][1] - frame[z][0] * frame[y][1];
            norm += frame[x][2] * frame[x][2];
        }
        const Vec shrink = splat(1.f) / root(norm);
        Vec undo[3][3], rest[3];
        for (int i = 0; i < 3; ++i) {
            frame[i][2] *= shrink;
            rest[i] = fetch(first + i * count, l);
            for (int j = 0; j < 3; ++j) undo[i][j] = fetch(inverse + (3 * i + j) * count, l);
        }
        Lanes target = l;
        target.at += begin;
        for (int x = 0; x < 3; ++x) {
            Vec shift = corner[0][x];
            for (int j = 0; j < 3; ++j) {
                const Vec linear = frame[x][0] * undo[0][j] + frame[x][1] * undo[1][j] + frame[x][2] * undo[2][j];
                put(bones + (4 * x + j) * bone_count, target, linear);
                shift -= linear * rest[j];
            }
            put(bones + (4 * x + 3) * bone_count, target, shift);
        }
    }
}

void carry(const float* gaussians, const float* bones, const int32_t* bone, const float* visibility, int64_t count,
           int64_t bone_count, float* mean, float* covariance, float* color, float* opacity) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += kLanes) {
        const Lanes l = lanes_at(at, count, bone);
        const Shape s = shape_of(gaussians, bones, count, bone_count, l);
        Vec p[3];
        for (int i = 0; i < 3; ++i) p[i] = fetch(gaussians + i * count, l);
        for (int i = 0; i < 3; ++i) {
            put_struct(mean, 3, i, l, s.map[i][0] * p[0] + s.map[i][1] * p[1] + s.map[i][2] * p[2] + s.map[i][3]);
            put_struct(color, 3, i, l, fetch(gaussians + (4 + i) * count, l));
        }
        for (int k = 0; k < 6; ++k) {
            const auto& a = s.factor[kPair[k][0]];
            const auto& b = s.factor[kPair[k][1]];
            put_struct(covariance, 6, k, l, a[0] * b[0] + a[1] * b[1] + a[2] * b[2]);
        }
        put(opacity, l, sigmoid(fetch(gaussians + 3 * count, l)) * fetch(visibility, l));
    }
}

// Through (along, across) [2][knots], constant beyond its ends.
static float border_at(const float* border, int64_t knots, float place) {
    const float* across = border + knots;
    if (!(place > border[0])) return across[0];
    for (int64_t k = 1; k < knots; ++k)
        if (place < border[k])
            return across[k - 1] + (place - border[k - 1]) / (border[k] - border[k - 1]) * (across[k] - across[k - 1]);
    return across[knots - 1];
}

void reveal(const float* positions, const float* bones, const int32_t* bone, const int32_t* behind,
            const int32_t* hole, const float* frames, const float* borders, int64_t listed, int64_t knots,
            int64_t count, int64_t bone_count, float* out) {
    std::fill(out, out + count, 1.f);
    for (int64_t m = 0; m < listed; ++m) {
        const int64_t n = behind[m];
        const float* map = bones + bone[n];
        float moved[3];
        for (int i = 0; i < 3; ++i, map += 4 * bone_count)
            moved[i] = map[0] * positions[n] + map[bone_count] * positions[count + n] +
                       map[2 * bone_count] * positions[2 * count + n] + map[3 * bone_count];
        const float* f = frames + 7 * hole[m];
        const float* upper = borders + 4 * knots * hole[m];
        const float x = moved[0] / moved[2] - f[0], y = moved[1] / moved[2] - f[1];
        const float along = f[2] * x + f[3] * y, across = f[4] * x + f[5] * y;
        const float below = across - border_at(upper, knots, along);
        const float above = border_at(upper + 2 * knots, knots, along) - across;
        const float beyond = std::max(std::max(upper[0] - along, along - upper[knots - 1]), 0.f);
        const float inside = (std::min(below, above) - beyond) / f[6];
        out[n] = 1.f / (1.f + std::exp(-2.f * inside));
    }
}

void carry_backward(const float* gaussians, const float* bones, const int32_t* bone, const float* visibility,
                    int64_t count, int64_t bone_count, const float* grad_mean, const float* grad_covariance,
                    const float* grad_color, const float* grad_opacity, float* gradient) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += kLanes) {
        const Lanes l = lanes_at(at, count, bone);
        const Shape s = shape_of(gaussians, bones, count, bone_count, l);
        Vec g[3];
        for (int i = 0; i < 3; ++i) g[i] = fetch_struct(grad_mean, 3, i, l);
        for (int i = 0; i < 3; ++i) {
            put(gradient + i * count, l, s.map[0][i] * g[0] + s.map[1][i] * g[1] + s.map[2][i] * g[2]);
            put(gradient + (4 + i) * count, l, fetch_struct(grad_color, 3, i, l));
        }
        const Vec opaque = sigmoid(fetch(gaussians + 3 * count, l));
        put(gradient + 3 * count, l,
            fetch(grad_opacity, l) * fetch(visibility, l) * opaque * (splat(1.f) - opaque));
        // d/d factor of <G, factor factor^T> with the symmetric G whose off-diagonal entries are halved.
        Vec symmetric[3][3];
        for (int k = 0; k < 6; ++k) {
            const int a = kPair[k][0], b = kPair[k][1];
            const Vec value = fetch_struct(grad_covariance, 6, k, l) * splat(a == b ? 2.f : 1.f);
            symmetric[a][b] = symmetric[b][a] = value;
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
            put(gradient + (11 + j) * count, l, by_scale);
        }
        const Vec w = s.quaternion[0], x = s.quaternion[1], y = s.quaternion[2], z = s.quaternion[3];
        const Vec two = splat(2.f), four = splat(4.f);
        const auto& r = by_turn;
        Vec by_quaternion[4];
        by_quaternion[0] = two * (z * (r[1][0] - r[0][1]) + y * (r[0][2] - r[2][0]) + x * (r[2][1] - r[1][2]));
        by_quaternion[1] = two * (y * (r[0][1] + r[1][0]) + z * (r[0][2] + r[2][0]) + w * (r[2][1] - r[1][2])) -
                           four * x * (r[1][1] + r[2][2]);
        by_quaternion[2] = two * (x * (r[0][1] + r[1][0]) + z * (r[1][2] + r[2][1]) + w * (r[0][2] - r[2][0])) -
                           four * y * (r[0][0] + r[2][2]);
        by_quaternion[3] = two * (x * (r[0][2] + r[2][0]) + y * (r[1][2] + r[2][1]) + w * (r[1][0] - r[0][1])) -
                           four * z * (r[0][0] + r[1][1]);
        Vec along = splat(0.f);
        for (int i = 0; i < 4; ++i) along += by_quaternion[i] * s.quaternion[i];
        for (int i = 0; i < 4; ++i)
            put(gradient + (7 + i) * count, l, (by_quaternion[i] - along * s.quaternion[i]) * s.inverse_norm);
    }
}

void learn(float* base, float* moments, float* residual, const float* gradient, const float* rates,
           const float* coefficients, const float* next_coefficients, int64_t bases, int64_t count,
           const LearnStep& step, float* out) {
    constexpr int64_t kPart = 512;
    const int64_t parts = (count + kPart - 1) / kPart;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < kCarried * parts; ++job) {
        const int64_t channel = job / parts, begin = job % parts * kPart;
        const int64_t size = count - begin < kPart ? count - begin : kPart;
        const int64_t at = channel * count + begin;
        const float* g = gradient + at;
        float* value = base + at;
        float* first = moments + at;
        float* second = moments + kCarried * count + at;
        float* blended = out + at;
        float move[kPart], square[kPart];
        if (channel < kPosition) {
            for (int64_t i = 0; i < size; ++i) {
                const float* x = gradient + begin + i;
                square[i] = x[0] * x[0] + x[count] * x[count] + x[2 * count] * x[2 * count];
            }
        } else {
            for (int64_t i = 0; i < size; ++i) square[i] = g[i] * g[i];
        }
        const float rate = rates[channel], eps = rates[kCarried + channel];
        for (int64_t i = 0; i < size; ++i) {
            first[i] = step.beta1 * first[i] + (1 - step.beta1) * g[i];
            second[i] = step.beta2 * second[i] + (1 - step.beta2) * square[i];
            const float scale = rate / (std::sqrt(second[i] / step.correction2) + eps);
            value[i] -= scale * first[i] / step.correction1;
            blended[i] = value[i];
            move[i] = scale * step.residual_rate * g[i];
        }
        if (channel >= kBlended) continue;
        for (int64_t k = 0; k < bases; ++k) {
            float* basis = residual + (k * kBlended + channel) * count + begin;
            const float now = coefficients[k], next = next_coefficients[k];
            for (int64_t i = 0; i < size; ++i) {
                basis[i] -= now * move[i];
                blended[i] += next * basis[i];
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
