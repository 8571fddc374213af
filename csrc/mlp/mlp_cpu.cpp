#include "mlp/mlp.h"

#include "common/simd.h"
#include "common/threads.h"
#include "mlp/harmonics.h"
#include "mlp/mlp_tile.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int kSecond = kWidth + kGeometry;  // where the second hidden layer begins in a row of `hidden`

// Parts that the samples are dealt out in, whatever the number of threads: their shares of the weights' gradients
// are added in this order, so that the bits do not depend on who did what.
constexpr int kParts = 32;

// to [columns][stride]: what lies beyond the rows is left alone.
void transpose(const float* from, int rows, int columns, float* to, int stride) {
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) to[j * stride + i] = from[i * columns + j];
}

struct Forward {
    const FieldSamples& in;
    const FieldNetwork& net;
    float *density, *rgb, *hidden;

    void run(int64_t begin, int64_t end) const {
        Scratch<float> rows(kTile * kWidth), own(kTile * kHidden);
        alignas(64) float share[kWidth], color1_t[3 * kWidth];
        transpose(net.color1, kWidth, 3, color1_t, kWidth);
        RayCursor cursor(in, begin);
        ray_share(net, in.harmonics + cursor.ray * kHarmonics, share);
        for (int64_t first = begin; first < end; first += kTile) {
            const int count = static_cast<int>(std::min<int64_t>(kTile, end - first));
            // A whole tile is computed in place; the last, partial one must not write past the end.
            const bool in_place = hidden != nullptr && count == kTile;
            float* tile = in_place ? hidden + first * kHidden : own;
            gather_features(in.features, net.levels(), in.samples, first, count, rows);
            density_tile(net, rows, tile);
            densities(tile + kWidth, kHidden, count, density + first);
            for (int s = 0; s < kTile; ++s) {
                if (s < count && cursor.advance(first + s))
                    ray_share(net, in.harmonics + cursor.ray * kHarmonics, share);
                std::copy(share, share + kWidth, tile + s * kHidden + kSecond);
            }
            color_tile(net, color1_t, tile, count, rgb + first * 3);
            if (hidden != nullptr && !in_place) std::copy(tile, tile + count * kHidden, hidden + first * kHidden);
        }
    }
};

// Gradients of the weights as the tiles produce them: the narrow matrices transposed, so that all have rows of 64.
struct WeightSums {
    float density0[kWidth * kWidth];
    float density1_t[kGeometry * kWidth];
    float color0[(kGeometry + kHarmonics) * kWidth];
    float color1_t[3 * kWidth];
};

struct Backward {
    const FieldSamples& in;
    const float *density, *rgb, *hidden, *grad_density, *grad_rgb;
    float* grad_features;
    // [64][inputs] and zeros up to 64, [16][64], [64][16], [3][64]
    const float *density0_t, *density1_t, *color0_t, *color1_t;
    int inputs;

    // Zero where the layer was cut off by its ReLU.
    static void mask(const float* layer, int64_t stride, float* gradient) {
        for (int s = 0; s < kTile; ++s)
            for (int j = 0; j < kWidth; j += kLanes) {
                float* g = gradient + s * kWidth + j;
                store(g, select(load(layer + s * stride + j) > Vec{}, load(g), Vec{}));
            }
    }

    void harmonics_sum(int64_t ray, const Vec* total, float* color0) const {
        const float* harmonics = in.harmonics + ray * kHarmonics;
        for (int k = 0; k < kHarmonics; ++k)
            for (int j = 0; j < kVectors; ++j) {
                float* sum = color0 + (kGeometry + k) * kWidth + j * kLanes;
                store(sum, load(sum) + splat(harmonics[k]) * total[j]);
            }
    }

    void run(int64_t begin, int64_t end, WeightSums& sums) const {
        Scratch<float> rows(kTile * kWidth), own(kTile * kHidden), wide(kTile * kWidth), narrow(kTile * kGeometry);
        RayCursor cursor(in, begin);
        Vec ray_total[kVectors] = {};
        for (int64_t first = begin; first < end; first += kTile) {
            const int count = static_cast<int>(std::min<int64_t>(kTile, end - first));
            const float* tile = hidden + first * kHidden;
            alignas(64) float output[kTile * 3] = {};
            for (int i = 0; i < count * 3; ++i) {
                const float value = rgb[first * 3 + i];
                output[i] = grad_rgb[first * 3 + i] * value * (1.f - value);
            }
            if (count < kTile) {
                std::copy(tile, tile + count * kHidden, static_cast<float*>(own));
                std::fill(own + count * kHidden, own + kTile * kHidden, 0.f);
                tile = own;
            }
            gemm<kWidth>(3, output, 1, 3, tile + kSecond, kHidden, kTile, sums.color1_t, kWidth, true);
            gemm<kWidth>(kTile, output, 3, 1, color1_t, kWidth, 3, wide, kWidth, false);
            mask(tile + kSecond, kHidden, wide);
            for (int s = 0; s < count; ++s) {
                const int64_t ray = cursor.ray;
                if (cursor.advance(first + s)) {
                    harmonics_sum(ray, ray_total, sums.color0);
                    for (Vec& total : ray_total) total = Vec{};
                }
                for (int j = 0; j < kVectors; ++j) ray_total[j] += load(wide + s * kWidth + j * kLanes);
            }
            gemm<kWidth>(kGeometry, tile + kWidth, 1, kHidden, wide, kWidth, kTile, sums.color0, kWidth, true);
            gemm<kGeometry>(kTile, wide, kWidth, 1, color0_t, kGeometry, kWidth, narrow, kGeometry, false);
            for (int s = 0; s < count; ++s) narrow[s * kGeometry] += grad_density[first + s] * density[first + s];
            gemm<kWidth>(kGeometry, narrow, 1, kGeometry, tile, kHidden, kTile, sums.density1_t, kWidth, true);
            gemm<kWidth>(kTile, narrow, kGeometry, 1, density1_t, kWidth, kGeometry, wide, kWidth, false);
            mask(tile, kHidden, wide);
            gather_features(in.features, inputs / 4, in.samples, first, count, rows);
            gemm<kWidth>(inputs, rows, 1, kWidth, wide, kWidth, kTile, sums.density0, kWidth, true);
            if (inputs <= kWidth / 2)
                gemm<kWidth / 2>(kTile, wide, kWidth, 1, density0_t, kWidth, kWidth, rows, kWidth, false);
            else
                gemm<kWidth>(kTile, wide, kWidth, 1, density0_t, kWidth, kWidth, rows, kWidth, false);
            for (int level = 0; level < inputs / 4; ++level) {
                float* to = grad_features + (level * in.samples + first) * 4;
                for (int s = 0; s < count; ++s) store(to + s * 4, load<Vec4>(rows + s * kWidth + level * 4));
            }
        }
        if (begin < end) harmonics_sum(cursor.ray, ray_total, sums.color0);
    }
};

}  // namespace

void spherical_harmonics(const float* directions, int64_t rays, float* harmonics) {
    const int threads = thread_count();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t ray = 0; ray < rays; ++ray) harmonics_of(directions + ray * 3, harmonics + ray * kHarmonics);
}

void field_mlp(const FieldSamples& in, const FieldNetwork& net, float* density, float* rgb, float* hidden) {
    const Forward forward{in, net, density, rgb, hidden};
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int part = 0; part < kParts; ++part) {
        const Range range = part_of(in.samples, part, kParts, kTile);
        if (range.begin < range.end) forward.run(range.begin, range.end);
    }
}

void field_mlp_backward(const FieldSamples& in, const FieldNetwork& net, const float* density, const float* rgb,
                        const float* hidden, const float* grad_density, const float* grad_rgb,
                        const FieldGradients& out) {
    const int threads = thread_count();
    Scratch<WeightSums> sums(kParts);
    Scratch<float> density0_t(kWidth * kWidth), density1_t(kGeometry * kWidth), color0_t(kWidth * kGeometry),
        color1_t(3 * kWidth);
    std::fill(density0_t + 0, density0_t + kWidth * kWidth, 0.f);
    transpose(net.density0, net.inputs, kWidth, density0_t, kWidth);
    transpose(net.density1, kWidth, kGeometry, density1_t, kWidth);
    transpose(net.color0, kGeometry, kWidth, color0_t, kGeometry);  // only the geometry's rows
    transpose(net.color1, kWidth, 3, color1_t, kWidth);
    const Backward backward{in,           density,    rgb,        hidden,   grad_density, grad_rgb,
                            out.features, density0_t, density1_t, color0_t, color1_t,     net.inputs};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int part = 0; part < kParts; ++part) {
        std::memset(&sums[part], 0, sizeof(WeightSums));
        const Range range = part_of(in.samples, part, kParts, kTile);
        if (range.begin < range.end) backward.run(range.begin, range.end, sums[part]);
    }
    float* first = reinterpret_cast<float*>(&sums[0]);
    for (int part = 1; part < kParts; ++part) {
        const float* other = reinterpret_cast<const float*>(&sums[part]);
        for (size_t i = 0; i < sizeof(WeightSums) / sizeof(float); ++i) first[i] += other[i];
    }
    std::copy_n(sums[0].density0, net.inputs * kWidth, out.density0);
    transpose(sums[0].density1_t, kGeometry, kWidth, out.density1, kGeometry);
    std::memcpy(out.color0, sums[0].color0, sizeof sums[0].color0);
    transpose(sums[0].color1_t, 3, kWidth, out.color1, 3);
}

}  // namespace avatarkit::AK_ISA
