// Gradients of an image of splats: of each tile's pixels to its splats, then through the projection.
#include <algorithm>

#include "common/threads.h"
#include "splat/pixels.h"
#include "splat/projection.h"
#include "splat/splat.h"
#include "splat/tile.h"
#include "splat/workspace.h"

namespace avatarkit::AK_ISA {
namespace {

// What a splat's image learns from its pixels: h is the gradient of log alpha, (x, y) the pixel from its center.
enum Sum { kH, kHx, kHy, kHxx, kHxy, kHyy, kRed, kGreen, kBlue, kSums };
constexpr int kPitch = 16;  // floats of one splat's sums, a line of the cache

#ifdef AK_AVX512
// Where `add_sums` leaves each sum in its line.
constexpr int kPlace[kSums] = {0, 4, 8, 12, 1, 5, 9, 13, 2};

inline __m512 fold(__m512 a, __m512 b) {  // halves of a and b, side by side
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
inline __m512 fold_quarters(__m512 ab, __m512 cd) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

// Adds the sums over the lanes of nine vectors, as one vector.
inline void add_sums(const Vec* sums, float* line) {
    const auto at = [&](int i) { return (__m512)sums[i]; };
    const __m512 first = fold_quarters(fold(at(0), at(1)), fold(at(2), at(3)));
    const __m512 second = fold_quarters(fold(at(4), at(5)), fold(at(6), at(7)));
    const __m512 ninth = fold(at(8), _mm512_setzero_ps());
    const __m512 third = fold_quarters(ninth, _mm512_setzero_ps());
    const __m512 zero = _mm512_setzero_ps();
    const __m512 even = _mm512_add_ps(_mm512_unpacklo_ps(first, second), _mm512_unpackhi_ps(first, second));
    const __m512 odd = _mm512_add_ps(_mm512_unpacklo_ps(third, zero), _mm512_unpackhi_ps(third, zero));
    const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(even, odd, 0x44), _mm512_shuffle_ps(even, odd, 0xee));
    _mm512_store_ps(line, _mm512_add_ps(_mm512_load_ps(line), all));
}
#else
constexpr int kPlace[kSums] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

inline void add_sums(const Vec* sums, float* line) {
    for (int i = 0; i < kSums; ++i) line[i] += sum(sums[i]);
}
#endif

// What one tile's pixels ask for: the image's gradient, and what is still to come of sum_j weight_j value_j.
struct TileGradient {
    Vec red[kBlocks], green[kBlocks], blue[kBlocks], alpha[kBlocks], rest[kBlocks];
};

TileGradient load_gradient(const SplatScene& scene, const float* image, const float* gradient, int left, int top) {
    TileGradient t;
    for (int k = 0; k < kBlocks; ++k) {
        const BlockPlace place(scene, left, top, k);
        const Channels to = load_block(gradient, scene.width, place), sum = load_block(image, scene.width, place);
        t.red[k] = to.of[0], t.green[k] = to.of[1], t.blue[k] = to.of[2], t.alpha[k] = to.of[3];
        t.rest[k] = to.of[0] * sum.of[0] + to.of[1] * sum.of[1] + to.of[2] * sum.of[2] + to.of[3] * sum.of[3];
    }
    return t;
}

// Walks the list as the forward pass did. With w = T alpha, v = color . gradient + gradient of alpha, and S the sum
// of w v behind this splat, the gradient of alpha is T v - S / (1 - alpha); S is the whole less what came so far.
void backward_tile(const SplatRecord* splats, const uint32_t* list, int64_t count, int left, int top,
                   TileGradient& t, float* sums) {
    const BlockLanes lanes;
    Vec x[kBlocksAcross], y[kBlocksDown], passing[kBlocks];
    for (int i = 0; i < kBlocksAcross; ++i) x[i] = lanes.x + splat(static_cast<float>(left + i * kBlockWidth));
    for (int j = 0; j < kBlocksDown; ++j) y[j] = lanes.y + splat(static_cast<float>(top + j * kBlockHeight));
    for (auto& p : passing) p = splat(1.f);
    for (int64_t n = 0; n < count; ++n) {
        const SplatRecord& s = splats[list[n]];
        const uint32_t ahead = list[std::min(n + 6, count - 1)];
        __builtin_prefetch(splats + ahead);
        __builtin_prefetch(sums + static_cast<int64_t>(ahead) * kPitch, 1);
        const TileLevels levels(s, x, y);
        Vec part[kSums] = {};
        bool touched = false;
#pragma GCC unroll 8
        for (int k = 0; k < kBlocks; ++k) {
            const int i = k % kBlocksAcross, j = k / kBlocksAcross;
            const Vec level = levels(i, j);
            const Mask counts =
                at_least(at_least(level, splat(kLeastLevel)), passing[k], splat(kLeastTransmittance));
            touched |= any(counts);  // no branch: it would be mispredicted
            const Vec alpha = keep(counts, exponential2(level));
            const Vec weight = passing[k] * alpha;
            part[kRed] += weight * t.red[k];
            part[kGreen] += weight * t.green[k];
            part[kBlue] += weight * t.blue[k];
            const Vec value =
                t.red[k] * splat(s.red) + t.green[k] * splat(s.green) + t.blue[k] * splat(s.blue) + t.alpha[k];
            const Vec contribution = weight * value;
            t.rest[k] -= contribution;
            passing[k] -= weight;
            const Vec h = contribution - alpha * t.rest[k] * inverse(splat(1.f) - alpha);
            const Vec hx = h * levels.x[i], hy = h * levels.y[j];
            part[kH] += h;
            part[kHx] += hx;
            part[kHy] += hy;
            part[kHxx] += hx * levels.x[i];
            part[kHxy] += hx * levels.y[j];
            part[kHyy] += hy * levels.y[j];
        }
        if (touched) add_sums(part, sums + static_cast<int64_t>(list[n]) * kPitch);
        if (n % 16 == 15) {
            Vec most = passing[0];
            for (int k = 1; k < kBlocks; ++k) most = larger(most, passing[k]);
            if (!any(at_least(most, splat(kLeastTransmittance)))) break;
        }
    }
}

inline void scatter_part(float* array, int parts, int part, const int32_t* which, int used, Vec v) {
    for (int i = 0; i < used; ++i) array[static_cast<int64_t>(which[i]) * parts + part] = v[i];
}

struct Outputs {
    float *mean, *covariance, *color, *opacity;
};

// From the sums of visible splats [at, at + used) to the scene's gradients.
void backward_projection(const SplatScene& scene, const Camera& camera, const SplatFrame& frame, int64_t at, int used,
                         const float* sums, const Outputs& out) {
    int32_t which[kLanes];
    for (int i = 0; i < kLanes; ++i) which[i] = frame.splats[at + std::min(i, used - 1)].index;
    const Projection p(scene, camera, which);
    Vec g[kSums];
    for (int k = 0; k < kSums; ++k)
        for (int i = 0; i < kLanes; ++i) g[k][i] = sums[(at + std::min(i, used - 1)) * kPitch + kPlace[k]];
    const Vec opacity = gather_part(scene.opacity, 1, 0, which), half = splat(0.5f), two = splat(2.f);
    const Vec largest = splat(kLargestOpacity);
    scatter_part(out.opacity, 1, 0, which, used, select(opacity <= largest, g[kH] / opacity, Vec{}));
    for (int c = 0; c < 3; ++c) scatter_part(out.color, 3, c, which, used, g[kRed + c]);
    // log alpha = log opacity - (a x^2 + 2 b x y + c y^2) / 2 with (a, b, c) the inverse image covariance.
    const Vec a = p.yy * p.inverse_area, b = -p.xy * p.inverse_area, c = p.xx * p.inverse_area;
    const Vec to_u = camera.fx * (a * g[kHx] + b * g[kHy]), to_v = camera.fy * (b * g[kHx] + c * g[kHy]);
    // The gradient of the inverse, -1/2 sum h (x, y)(x, y)', taken to the covariance: -inverse G inverse.
    const Vec mx = a * g[kHxx] + b * g[kHxy], my = a * g[kHxy] + b * g[kHyy];
    const Vec nx = b * g[kHxx] + c * g[kHxy], ny = b * g[kHxy] + c * g[kHyy];
    const Vec to_xx = half * (mx * a + my * b), to_xy = mx * b + my * c, to_yy = half * (nx * b + ny * c);
    const Vec ax = p.ax, ay = p.ay, bx = p.bx, by = p.by;
    const Vec* s = p.s;
    scatter_part(out.covariance, 6, 0, which, used, ax * ax * to_xx);
    scatter_part(out.covariance, 6, 1, which, used, ax * ay * to_xy);
    scatter_part(out.covariance, 6, 2, which, used, two * ax * bx * to_xx + ax * by * to_xy);
    scatter_part(out.covariance, 6, 3, which, used, ay * ay * to_yy);
    scatter_part(out.covariance, 6, 4, which, used, two * ay * by * to_yy + ay * bx * to_xy);
    scatter_part(out.covariance, 6, 5, which, used, bx * bx * to_xx + bx * by * to_xy + by * by * to_yy);
    const Vec to_ax = two * to_xx * (ax * s[0] + bx * s[2]) + to_xy * (ay * s[1] + by * s[2]);
    const Vec to_bx = two * to_xx * (ax * s[2] + bx * s[5]) + to_xy * (ay * s[4] + by * s[5]);
    const Vec to_ay = two * to_yy * (ay * s[3] + by * s[4]) + to_xy * (ax * s[1] + bx * s[4]);
    const Vec to_by = two * to_yy * (ay * s[4] + by * s[5]) + to_xy * (ax * s[2] + bx * s[5]);
    // bx = -ax slope_u with ax = fx / z; the slope follows u = x / z where it is not kept near the image.
    const Vec free_u = select(p.slope_u == p.u, -ax * to_bx, Vec{});
    const Vec free_v = select(p.slope_v == p.v, -ay * to_by, Vec{});
    const Vec all_u = to_u + free_u, all_v = to_v + free_v;
    const Vec whole_ax = to_ax - p.slope_u * to_bx, whole_ay = to_ay - p.slope_v * to_by;
    scatter_part(out.mean, 3, 0, which, used, all_u * p.inverse_z);
    scatter_part(out.mean, 3, 1, which, used, all_v * p.inverse_z);
    scatter_part(out.mean, 3, 2, which, used,
                 -(all_u * p.u + all_v * p.v + whole_ax * ax + whole_ay * ay) * p.inverse_z);
}

}  // namespace

void splat_backward(const SplatScene& scene, SplatFrame& frame, const float* image, const float* grad_image,
                    float* grad_mean, float* grad_covariance, float* grad_color, float* grad_opacity) {
    const int threads = thread_count();
    const Outputs out{grad_mean, grad_covariance, grad_color, grad_opacity};
    const int64_t length = frame.visible * kPitch;
    float* sums = room<float>(frame.gradients, threads * length);
    const Camera camera(scene);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; ++t) {
            float* own = sums + t * length;
            std::fill(own, own + length, 0.f);
            for (int row = t; row < frame.down; row += threads)
                for (int column = 0; column < frame.across; ++column) {
                    const int64_t tile = static_cast<int64_t>(row) * frame.across + column;
                    const uint32_t begin = frame.tiles[tile], end = frame.tiles[tile + 1];
                    if (begin == end) continue;
                    TileGradient pixels =
                        load_gradient(scene, image, grad_image, column * kTileWidth, row * kTileHeight);
                    backward_tile(frame.splats, frame.entries + begin, end - begin, column * kTileWidth,
                                  row * kTileHeight, pixels, own);
                }
        }
#pragma omp for schedule(static)
        for (int t = 0; t < threads; ++t) {
            const Range mine = part_of(scene.count, t, threads);
            std::fill(grad_mean + mine.begin * 3, grad_mean + mine.end * 3, 0.f);
            std::fill(grad_covariance + mine.begin * 6, grad_covariance + mine.end * 6, 0.f);
            std::fill(grad_color + mine.begin * 3, grad_color + mine.end * 3, 0.f);
            std::fill(grad_opacity + mine.begin, grad_opacity + mine.end, 0.f);
        }
#pragma omp for schedule(static)
        for (int t = 0; t < threads; ++t) {
            const Range mine = part_of(frame.visible, t, threads, kLanes);
            for (int other = 1; other < threads; ++other)
                for (int64_t i = mine.begin * kPitch; i < mine.end * kPitch; i += kLanes)
                    store(sums + i, load(sums + i) + load(sums + other * length + i));
            for (int64_t at = mine.begin; at < mine.end; at += kLanes)
                backward_projection(scene, camera, frame, at,
                                    static_cast<int>(std::min<int64_t>(kLanes, mine.end - at)), sums, out);
        }
    }
}

}  // namespace avatarkit::AK_ISA
