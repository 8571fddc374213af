#include "resemblance/resemblance.h"

#include <algorithm>
#include <cmath>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {

namespace {

constexpr int kReach = 5, kChannels = 3;
constexpr int kMoments = 4, kSlopes = 3;  // planes a channel: p, t, p^2 + t^2, p t; by mean, by variance, by covariance
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

struct Window {
    float tap[kReach + 1];  // center, then outwards

    Window() {
        double total = 0;
        for (int i = -kReach; i <= kReach; ++i) total += std::exp(-0.5 * i * i / (1.5 * 1.5));
        for (int i = 0; i <= kReach; ++i) tap[i] = static_cast<float>(std::exp(-0.5 * i * i / (1.5 * 1.5)) / total);
    }
};

// out [width] = row blurred along itself; `padded` holds kReach zeros before and after the row.
void blur_along(const float* __restrict padded, int64_t width, const Window& w, float* __restrict out) {
    const float* __restrict center = padded + kReach;
    const float w0 = w.tap[0], w1 = w.tap[1], w2 = w.tap[2], w3 = w.tap[3], w4 = w.tap[4], w5 = w.tap[5];
#pragma GCC ivdep
    for (int64_t x = 0; x < width; ++x)
        out[x] = w0 * center[x] + w1 * (center[x - 1] + center[x + 1]) + w2 * (center[x - 2] + center[x + 2]) +
                 w3 * (center[x - 3] + center[x + 3]) + w4 * (center[x - 4] + center[x + 4]) +
                 w5 * (center[x - 5] + center[x + 5]);
}

// out [width] = row y of `plane` [height][width] blurred across rows.
void blur_across(const float* __restrict plane, int64_t y, const PictureShape& s, const Window& w,
                 float* __restrict out) {
    const float* __restrict center = plane + y * s.width;
    const int64_t row = s.width;
    if (y >= kReach && y + kReach < s.height) {
        const float w0 = w.tap[0], w1 = w.tap[1], w2 = w.tap[2], w3 = w.tap[3], w4 = w.tap[4], w5 = w.tap[5];
#pragma GCC ivdep
        for (int64_t x = 0; x < row; ++x)
            out[x] = w0 * center[x] + w1 * (center[x - row] + center[x + row]) +
                     w2 * (center[x - 2 * row] + center[x + 2 * row]) +
                     w3 * (center[x - 3 * row] + center[x + 3 * row]) +
                     w4 * (center[x - 4 * row] + center[x + 4 * row]) +
                     w5 * (center[x - 5 * row] + center[x + 5 * row]);
        return;
    }
    for (int64_t x = 0; x < row; ++x) out[x] = w.tap[0] * center[x];
    for (int k = 1; k <= kReach; ++k)
        for (const int64_t other : {y - k, y + k}) {
            if (other < 0 || other >= s.height) continue;
            const float* __restrict source = plane + other * row;
            const float tap = w.tap[k];
            for (int64_t x = 0; x < row; ++x) out[x] += tap * source[x];
        }
}

// A row of all channels, each on its own, `pitch` apart: the picture and the truth.
void unpack(const float* __restrict splats, const float* __restrict behind, const float* __restrict truth,
            int64_t width, int64_t pitch, float* __restrict p, float* __restrict t) {
    float *__restrict p1 = p + pitch, *__restrict p2 = p1 + pitch, *__restrict t1 = t + pitch, *__restrict t2 = t1 + pitch;
#pragma GCC ivdep
    for (int64_t x = 0; x < width; ++x) {
        const float through = 1 - splats[4 * x + 3];
        p[x] = splats[4 * x] + through * behind[3 * x];
        p1[x] = splats[4 * x + 1] + through * behind[3 * x + 1];
        p2[x] = splats[4 * x + 2] + through * behind[3 * x + 2];
        t[x] = truth[3 * x], t1[x] = truth[3 * x + 1], t2[x] = truth[3 * x + 2];
    }
}

double total(const float* row, int64_t width) {
    Vec sums{};
    int64_t x = 0;
    for (; x + kLanes <= width; x += kLanes) sums += load(row + x);
    double result = 0;
    for (int i = 0; i < kLanes; ++i) result += sums[i];
    for (; x < width; ++x) result += row[x];
    return result;
}

}  // namespace

double resemblance(const float* splats, const float* behind, const float* truth, const float* matte,
                   const float* share, const PictureShape& s, const ResemblanceWeights& weights, float* gradient) {
    const int64_t plane = s.height * s.width, padded = s.width + 2 * kReach;
    const Window window;
    Scratch<float> moments(kChannels * kMoments * plane), slopes(kChannels * kSlopes * plane);
    Scratch<double> sums(2 * s.height);
    const float per_color = 1.f / kChannels, plain = 1 - weights.structure;
#pragma omp parallel
    {
        // Rows with room for the window at their ends: p and t of all channels, two more.
        Scratch<float> rows((2 * kChannels + 2) * padded), blurred(kMoments * s.width);
        std::fill(rows + 0, rows + (2 * kChannels + 2) * padded, 0.f);
        float *p = rows + kReach, *t = p + kChannels * padded, *squares = t + kChannels * padded;
        float* product = squares + padded;
#pragma omp for schedule(static)
        for (int64_t y = 0; y < s.height; ++y) {
            const int64_t at = y * s.width;
            unpack(splats + 4 * at, behind + 3 * at, truth + 3 * at, s.width, padded, p, t);
            for (int c = 0; c < kChannels; ++c) {
                const float *own = p + c * padded, *wanted = t + c * padded;
#pragma GCC ivdep
                for (int64_t x = 0; x < s.width; ++x) {
                    squares[x] = own[x] * own[x] + wanted[x] * wanted[x];
                    product[x] = own[x] * wanted[x];
                }
                const float* of[kMoments] = {own, wanted, squares, product};
                for (int m = 0; m < kMoments; ++m)
                    blur_along(of[m] - kReach, s.width, window, moments + (c * kMoments + m) * plane + at);
            }
        }
#pragma omp for schedule(static)
        for (int64_t y = 0; y < s.height; ++y) {
            double index_sum = 0;
            for (int c = 0; c < kChannels; ++c) {
                for (int m = 0; m < kMoments; ++m)
                    blur_across(moments + (c * kMoments + m) * plane, y, s, window, blurred + m * s.width);
                const float* weight = share + y * s.width;
                const float *mean_p = blurred, *mean_t = mean_p + s.width, *mean_squares = mean_t + s.width;
                const float* mean_product = mean_squares + s.width;
                float* index = product;  // its row is free by now
#pragma GCC ivdep
                for (int64_t x = 0; x < s.width; ++x) {
                    const float a = mean_p[x], b = mean_t[x];
                    const float luminance = a * a + b * b + kC1, contrast = mean_squares[x] - a * a - b * b + kC2;
                    const float like = 2 * a * b + kC1, together = 2 * (mean_product[x] - a * b) + kC2;
                    const float factor = weight[x] * per_color / (luminance * contrast);
                    const float value = like * together * factor;
                    const float by_covariance = 2 * like * factor, by_variance = -value / contrast;
                    index[x] = value;
                    p[x] = 2 * b * together * factor - 2 * a * (value / luminance + by_variance) - b * by_covariance;
                    t[x] = by_variance;
                    squares[x] = by_covariance;
                }
                index_sum += total(index, s.width);
                const float* of[kSlopes] = {p, t, squares};
                for (int m = 0; m < kSlopes; ++m)
                    blur_along(of[m] - kReach, s.width, window, slopes + (c * kSlopes + m) * plane + y * s.width);
            }
            sums[2 * y] = weights.structure * index_sum;
        }
#pragma omp for schedule(static)
        for (int64_t y = 0; y < s.height; ++y) {
            const int64_t at = y * s.width;
            double sum = 0;
            unpack(splats + 4 * at, behind + 3 * at, truth + 3 * at, s.width, padded, p, t);
            float* by_alpha = product;
#pragma GCC ivdep
            for (int64_t x = 0; x < s.width; ++x) {
                const float wrong = splats[4 * (at + x) + 3] - matte[at + x], w = weights.matte * share[at + x];
                by_alpha[x] = wrong > 0 ? w : wrong < 0 ? -w : 0.f;
                squares[x] = w * std::fabs(wrong);
            }
            sum += total(squares, s.width);
            for (int c = 0; c < kChannels; ++c) {
                for (int m = 0; m < kSlopes; ++m)
                    blur_across(slopes + (c * kSlopes + m) * plane, y, s, window, blurred + m * s.width);
                const float *by_mean = blurred, *by_variance = by_mean + s.width, *by_covariance = by_variance + s.width;
                float* own = p + c * padded;  // gives way to the gradient
                const float* wanted = t + c * padded;
#pragma GCC ivdep
                for (int64_t x = 0; x < s.width; ++x) {
                    const float wrong = own[x] - wanted[x], w = plain * share[at + x] * per_color;
                    const float sign = wrong > 0 ? 1.f : wrong < 0 ? -1.f : 0.f;
                    const float by_similarity = by_mean[x] + 2 * own[x] * by_variance[x] + wanted[x] * by_covariance[x];
                    const float slope = w * sign - weights.structure * by_similarity;
                    own[x] = slope;
                    by_alpha[x] -= slope * behind[3 * (at + x) + c];
                    squares[x] = w * std::fabs(wrong);
                }
                sum += total(squares, s.width);
            }
            for (int64_t x = 0; x < s.width; ++x) {
                float* to = gradient + 4 * (at + x);
                to[0] = p[x], to[1] = p[padded + x], to[2] = p[2 * padded + x], to[3] = by_alpha[x];
            }
            sums[2 * y + 1] = sum;
        }
    }
    double value = weights.structure;
    for (int64_t y = 0; y < s.height; ++y) value += sums[2 * y + 1] - sums[2 * y];
    return value;
}

}  // namespace avatarkit::AK_ISA
