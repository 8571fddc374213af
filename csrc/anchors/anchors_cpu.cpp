#include "anchors/anchors.h"

#include <algorithm>
#include <cmath>

#include "anchors/carrying.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {

void deform(const float* vertices, const int32_t* triangles, const float* inverse, const float* first,
            const float* pose, int64_t count, int64_t begin, int64_t bone_count, float* bones) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += kLanes) {
        const Lanes l(at, count);
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

void carry(const Rigged& rigged, float* mean, float* covariance, float* color, float* opacity) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < rigged.count; at += kLanes) {
        const Lanes l(at, rigged.count);
        const Carried c = carried(rigged, shape_of(rigged, l), l);
        for (int i = 0; i < 3; ++i) {
            put_struct(mean, 3, i, l, c.mean[i]);
            put_struct(color, 3, i, l, c.color[i]);
        }
        for (int k = 0; k < 6; ++k) put_struct(covariance, 6, k, l, c.covariance[k]);
        put(opacity, l, c.opacity);
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

void carry_backward(const Rigged& rigged, const float* grad_mean, const float* grad_covariance,
                    const float* grad_color, const float* grad_opacity, float* gradient) {
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < rigged.count; at += kLanes) {
        const Lanes l(at, rigged.count);
        Carried g;
        for (int i = 0; i < 3; ++i) {
            g.mean[i] = fetch_struct(grad_mean, 3, i, l);
            g.color[i] = fetch_struct(grad_color, 3, i, l);
        }
        for (int k = 0; k < 6; ++k) g.covariance[k] = fetch_struct(grad_covariance, 6, k, l);
        g.opacity = fetch(grad_opacity, l);
        put_gradient(rigged, shape_of(rigged, l), l, g, gradient);
    }
}

}  // namespace avatarkit::AK_ISA
