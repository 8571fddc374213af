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
        Vec part[kSums] = {}, h[kBlocksAcross][kBlocksDown];
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
            h[i][j] = contribution - alpha * t.rest[k] * inverse(splat(1.f) - alpha);
        }
        // Moments of h: columns and rows of blocks share their places.
#pragma GCC unroll 4
        for (int i = 0; i < kBlocksAcross; ++i) {
            Vec column{}, mixed{};
#pragma GCC unroll 4
            for (int j = 0; j < kBlocksDown; ++j) column += h[i][j], mixed += h[i][j] * levels.y[j];
            const Vec hx = column * levels.x[i];
            part[kH] += column, part[kHx] += hx, part[kHxx] += hx * levels.x[i];
            part[kHy] += mixed, part[kHxy] += mixed * levels.x[i];
        }
#pragma GCC unroll 4
        for (int j = 0; j < kBlocksDown; ++j) {
            Vec row{};
#pragma GCC unroll 4
            for (int i = 0; i < kBlocksAcross; ++i) row += h[i][j];
            part[kHyy] += row * levels.y[j] * levels.y[j];
        }
        if (touched) add_sums(part, sums + static_cast<int64_t>(list[n]) * kPitch);
        if (n % 16 == 15) {
            Vec most = passing[0];
            for (int k = 1; k < kBlocks; ++k) most = larger(most, passing[k]);
            if (!any(at_least(most, splat(kLeastTransmittance)))) break;
        }
    }
}

// What all threads summed up for splats [at, at + kLanes) that there are.
inline void gather_sums(const float* sums, int64_t length, int threads, const Lanes& lanes, Vec* g) {
    alignas(64) float line[kLanes][kPitch];
    for (int i = 0; i < kLanes; ++i) {
        const float* from = sums + lanes.index(i) * kPitch;
        for (int k = 0; k < kPitch; k += kLanes) {
            Vec total = load(from + k);
            for (int t = 1; t < threads; ++t) total += load(from + t * length + k);
            store(line[i] + k, total);
        }
    }
    for (int k = 0; k < kSums; ++k)
        for (int i = 0; i < kLanes; ++i) g[k][i] = line[i][kPlace[k]];
}

// Sums over splats of what pulls at a body.
struct Wrench {
    Vec sum[6] = {};

    void add(Vec share, const Vec* mean, const Vec* g) {
        for (int a = 0; a < 3; ++a) {
            const int b = (a + 1) % 3, c = (a + 2) % 3;
            sum[a] += share * g[a];
            sum[3 + a] += share * (mean[b] * g[c] - mean[c] * g[b]);
        }
    }
};

// From the sums `g` over pixels to the gradients of splats in space.
inline Carried backward_projection(const Carried& splats, const Camera& camera, const Vec* g) {
    const Projection p(splats, camera);
    Carried out;
    const Vec half = splat(0.5f), two = splat(2.f);
    out.opacity = select(splats.opacity <= splat(kLargestOpacity), g[kH] / splats.opacity, Vec{});
    for (int c = 0; c < 3; ++c) out.color[c] = g[kRed + c];
    // log alpha = log opacity - (a x^2 + 2 b x y + c y^2) / 2 with (a, b, c) the inverse image covariance.
    const Vec a = p.yy * p.inverse_area, b = -p.xy * p.inverse_area, c = p.xx * p.inverse_area;
    const Vec to_u = camera.fx * (a * g[kHx] + b * g[kHy]), to_v = camera.fy * (b * g[kHx] + c * g[kHy]);
    // The gradient of the inverse, -1/2 sum h (x, y)(x, y)', taken to the covariance: -inverse G inverse.
    const Vec mx = a * g[kHxx] + b * g[kHxy], my = a * g[kHxy] + b * g[kHyy];
    const Vec nx = b * g[kHxx] + c * g[kHxy], ny = b * g[kHxy] + c * g[kHyy];
    const Vec to_xx = half * (mx * a + my * b), to_xy = mx * b + my * c, to_yy = half * (nx * b + ny * c);
    const Vec ax = p.ax, ay = p.ay, bx = p.bx, by = p.by;
    const Vec* s = p.s;
    out.covariance[0] = ax * ax * to_xx;
    out.covariance[1] = ax * ay * to_xy;
    out.covariance[2] = two * ax * bx * to_xx + ax * by * to_xy;
    out.covariance[3] = ay * ay * to_yy;
    out.covariance[4] = two * ay * by * to_yy + ay * bx * to_xy;
    out.covariance[5] = bx * bx * to_xx + bx * by * to_xy + by * by * to_yy;
    const Vec to_ax = two * to_xx * (ax * s[0] + bx * s[2]) + to_xy * (ay * s[1] + by * s[2]);
    const Vec to_bx = two * to_xx * (ax * s[2] + bx * s[5]) + to_xy * (ay * s[4] + by * s[5]);
    const Vec to_ay = two * to_yy * (ay * s[3] + by * s[4]) + to_xy * (ax * s[1] + bx * s[4]);
    const Vec to_by = two * to_yy * (ay * s[4] + by * s[5]) + to_xy * (ax * s[2] + bx * s[5]);
    // bx = -ax slope_u with ax = fx / z; the slope follows u = x / z where it is not kept near the image.
    const Vec free_u = select(p.slope_u == p.u, -ax * to_bx, Vec{});
    const Vec free_v = select(p.slope_v == p.v, -ay * to_by, Vec{});
    const Vec all_u = to_u + free_u, all_v = to_v + free_v;
    const Vec whole_ax = to_ax - p.slope_u * to_bx, whole_ay = to_ay - p.slope_v * to_by;
    out.mean[0] = all_u * p.inverse_z;
    out.mean[1] = all_v * p.inverse_z;
    out.mean[2] = -(all_u * p.u + all_v * p.v + whole_ax * ax + whole_ay * ay) * p.inverse_z;
    return out;
}

// Gradients of scene splats [begin, end) from the sums of all threads, and what pulls at each body.
template <class Source>
void finish(const SplatScene& scene, const SplatFrame& frame, Range range, const float* sums, int64_t length,
            int threads, const SplatGradients& out, const SplatBodies& bodies, Wrench* wrench) {
    const Camera camera(scene);
    for (int64_t at = range.begin; at < range.end; at += kLanes) {
        const Source source(scene, at);
        Vec g[kSums];
        gather_sums(sums, length, threads, source.lanes, g);
        Carried gradient = backward_projection(source.value, camera, g);
        // what is not seen has no finite projection
        const VecInt seen = fetch(frame.seen, source.lanes);
        for (Vec& v : gradient.mean) v = select(seen, v, Vec{});
        for (Vec& v : gradient.covariance) v = select(seen, v, Vec{});
        for (Vec& v : gradient.color) v = select(seen, v, Vec{});
        gradient.opacity = select(seen, gradient.opacity, Vec{});
        source.put(scene, gradient, out);
        Vec mean[3];
        for (int i = 0; i < 3; ++i) mean[i] = select(seen, source.value.mean[i], Vec{});
        for (int64_t b = 0; b < bodies.count; ++b) {
            Vec share = fetch(bodies.share + b * scene.count, source.lanes);
            for (int i = source.lanes.used; i < kLanes; ++i) share[i] = 0.f;
            wrench[b].add(share, mean, gradient.mean);
        }
    }
}

}  // namespace

void splat_backward(const SplatScene& scene, SplatFrame& frame, const float* image, const float* grad_image,
                    const SplatGradients& gradients, const SplatBodies& bodies) {
    const int threads = thread_count();
    const int64_t length = scene.count * kPitch;
    float* sums = room<float>(frame.gradients, threads * length);
    auto* wrenches = room<Wrench>(frame.wrenches, threads * bodies.count);
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
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; ++t) {
            Wrench* own = wrenches + t * bodies.count;
            std::fill(own, own + bodies.count, Wrench());
            const Range mine = part_of(scene.count, t, threads, kLanes);
            if (scene.mean != nullptr)
                finish<FreeSplats>(scene, frame, mine, sums, length, threads, gradients, bodies, own);
            else finish<CarriedSplats>(scene, frame, mine, sums, length, threads, gradients, bodies, own);
        }
    }
    for (int64_t b = 0; b < bodies.count; ++b)
        for (int i = 0; i < 6; ++i) {
            float total = 0.f;
            for (int t = 0; t < threads; ++t) total += sum(wrenches[t * bodies.count + b].sum[i]);
            bodies.wrench[6 * b + i] = total;
        }
}

}  // namespace avatarkit::AK_ISA
