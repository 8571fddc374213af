#include "sines/sines.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "common/threads.h"
#include "mlp/gemm.h"
#include "sines/sincos.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int kWide = kSineWidth, kKept = 2 * kSineWidth, kFeatureWidth = 4 * kSineLevels;
constexpr int kTile = 48;   // samples: a multiple of every register tile's rows
constexpr int kParts = 32;  // that the samples are dealt out in, whatever the number of threads

// Level-major features and the other inputs as rows of 64; rows up to kTile are cleared.
void gather(const SineSamples& in, int64_t first, int count, float* rows) {
    for (int level = 0; level < kSineLevels; ++level) {
        const float* from = in.features + (level * in.count + first) * 4;
        for (int s = 0; s < count; ++s) store(rows + s * kWide + level * 4, load<Vec4>(from + s * 4));
    }
    for (int s = 0; s < count; ++s)
        std::copy_n(in.extra + (first + s) * kSineExtra, kSineExtra, rows + s * kWide + kFeatureWidth);
    std::fill(rows + count * kWide, rows + kTile * kWide, 0.f);
}

void fill_rows(const float* row, float* rows, int64_t stride) {
    for (int s = 0; s < kTile; ++s) std::copy_n(row, kWide, rows + s * stride);
}

void sines(const float* phases, float* out) {
    for (int s = 0; s < kTile; ++s)
        for (int j = 0; j < kWide; j += kLanes) store(out + s * kWide + j, sine(load(phases + s * kKept + j)));
}

// gradient *= cos(phase), and the sums of its columns are added to bias.
void through_sines(const float* phases, float* gradient, float* bias) {
    for (int j = 0; j < kWide; j += kLanes) {
        Vec total = load(bias + j);
        for (int s = 0; s < kTile; ++s) {
            float* g = gradient + s * kWide + j;
            const Vec value = load(g) * cosine(load(phases + s * kKept + j));
            store(g, value);
            total += value;
        }
        store(bias + j, total);
    }
}

void transpose(const float* from, int rows, int columns, float* to) {
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
}

void forward_part(const SineSamples& in, const SineNetwork& net, Range range, float* rgb, float* phases) {
    Scratch<float> rows(kTile * kWide), own(kTile * kKept), active(kTile * kWide);
    alignas(64) float weight2_t[3 * kWide];
    transpose(net.weight2, kWide, 3, weight2_t);
    for (int64_t first = range.begin; first < range.end; first += kTile) {
        const int count = static_cast<int>(std::min<int64_t>(kTile, range.end - first));
        gather(in, first, count, rows);
        fill_rows(net.bias0, own, kKept);
        gemm<kWide>(kTile, rows, kWide, 1, net.weight0, kWide, kWide, own, kKept, true);
        sines(own, active);
        fill_rows(net.bias1, own + kWide, kKept);
        gemm<kWide>(kTile, active, kWide, 1, net.weight1, kWide, kWide, own + kWide, kKept, true);
        sines(own + kWide, active);
        for (int s = 0; s < count; ++s)
            for (int c = 0; c < 3; ++c) {
                Vec sums = {};
                for (int j = 0; j < kWide; j += kLanes) sums += load(active + s * kWide + j) * load(weight2_t + c * kWide + j);
                rgb[(first + s) * 3 + c] = 1.f / (1.f + std::exp(-(sum(sums) + net.bias2[c])));
            }
        if (phases != nullptr) std::copy_n(static_cast<float*>(own), count * kKept, phases + first * kKept);
    }
}

struct Sums {
    float weight0[kWide * kWide], bias0[kWide], weight1[kWide * kWide], bias1[kWide], weight2_t[3 * kWide], bias2[kLanes];
};

struct Backward {
    const SineSamples& in;
    const float *rgb, *phases, *grad_rgb;
    const float *weight0_t, *weight1_t, *weight2_t;  // [64][64], [64][64], [3][64]
    float *to_features, *to_extra;

    void run(Range range, Sums& sums) const {
        Scratch<float> rows(kTile * kWide), own(kTile * kKept), active(kTile * kWide), gradient(kTile * kWide),
            further(kTile * kWide);
        for (int64_t first = range.begin; first < range.end; first += kTile) {
            const int count = static_cast<int>(std::min<int64_t>(kTile, range.end - first));
            alignas(64) float output[kTile * 3] = {};
            for (int i = 0; i < count * 3; ++i) {
                const float value = rgb[first * 3 + i];
                output[i] = grad_rgb[first * 3 + i] * value * (1.f - value);
                sums.bias2[i % 3] += output[i];
            }
            const float* tile = phases + first * kKept;
            if (count < kTile) {
                std::copy_n(tile, count * kKept, static_cast<float*>(own));
                std::fill(own + count * kKept, own + kTile * kKept, 0.f);
                tile = own;
            }
            sines(tile + kWide, active);
            gemm<kWide>(3, output, 1, 3, active, kWide, kTile, sums.weight2_t, kWide, true);
            gemm<kWide>(kTile, output, 3, 1, weight2_t, kWide, 3, gradient, kWide, false);
            through_sines(tile + kWide, gradient, sums.bias1);
            sines(tile, active);
            gemm<kWide>(kWide, active, 1, kWide, gradient, kWide, kTile, sums.weight1, kWide, true);
            gemm<kWide>(kTile, gradient, kWide, 1, weight1_t, kWide, kWide, further, kWide, false);
            through_sines(tile, further, sums.bias0);
            gather(in, first, count, rows);
            gemm<kWide>(kWide, rows, 1, kWide, further, kWide, kTile, sums.weight0, kWide, true);
            gemm<kWide>(kTile, further, kWide, 1, weight0_t, kWide, kWide, rows, kWide, false);
            for (int level = 0; level < kSineLevels; ++level) {
                float* to = to_features + (level * in.count + first) * 4;
                for (int s = 0; s < count; ++s) store(to + s * 4, load<Vec4>(rows + s * kWide + level * 4));
            }
            for (int s = 0; s < count; ++s)
                std::copy_n(rows + s * kWide + kFeatureWidth, kSineExtra, to_extra + (first + s) * kSineExtra);
        }
    }
};

}  // namespace

void sine_mlp(const SineSamples& in, const SineNetwork& net, float* rgb, float* phases) {
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int part = 0; part < kParts; ++part) {
        const Range range = part_of(in.count, part, kParts, kTile);
        if (range.begin < range.end) forward_part(in, net, range, rgb, phases);
    }
}

void sine_mlp_backward(const SineSamples& in, const SineNetwork& net, const float* rgb, const float* phases,
                       const float* grad_rgb, const SineGradients& out) {
    const int threads = thread_count();
    Scratch<Sums> sums(kParts);
    Scratch<float> weight0_t(kWide * kWide), weight1_t(kWide * kWide), weight2_t(3 * kWide);
    transpose(net.weight0, kWide, kWide, weight0_t);
    transpose(net.weight1, kWide, kWide, weight1_t);
    transpose(net.weight2, kWide, 3, weight2_t);
    const Backward backward{in, rgb, phases, grad_rgb, weight0_t, weight1_t, weight2_t, out.features, out.extra};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int part = 0; part < kParts; ++part) {
        std::memset(&sums[part], 0, sizeof(Sums));
        const Range range = part_of(in.count, part, kParts, kTile);
        if (range.begin < range.end) backward.run(range, sums[part]);
    }
    float* total = reinterpret_cast<float*>(&sums[0]);
    for (int part = 1; part < kParts; ++part) {
        const float* other = reinterpret_cast<const float*>(&sums[part]);
        for (size_t i = 0; i < sizeof(Sums) / sizeof(float); ++i) total[i] += other[i];
    }
    std::copy_n(sums[0].weight0, kWide * kWide, out.weight0);
    std::copy_n(sums[0].weight1, kWide * kWide, out.weight1);
    std::copy_n(sums[0].bias0, kWide, out.bias0);
    std::copy_n(sums[0].bias1, kWide, out.bias1);
    transpose(sums[0].weight2_t, 3, kWide, out.weight2);
    std::copy_n(sums[0].bias2, 3, out.bias2);
}

}  // namespace avatarkit::AK_ISA
