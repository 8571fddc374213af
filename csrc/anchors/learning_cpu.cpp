// A step of training of Gaussians, and the moves of their residuals, of several steps at once.
#include <algorithm>
#include <cmath>

#include "anchors/anchors.h"
#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {

void learn(float* base, float* moments, const float* gradient, const float* rates, int64_t count,
           const LearnStep& step, const LearnBlend& blend, float* out) {
    constexpr int64_t kPart = 512;
    const int64_t parts = (count + kPart - 1) / kPart;
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < kCarried * parts; ++job) {
        const int64_t channel = job / parts, begin = job % parts * kPart;
        const int64_t size = std::min(count - begin, kPart), at = channel * count + begin;
        const float* g = gradient + at;
        float* value = base + at;
        float* first = moments + at;
        float* second = moments + kCarried * count + at;
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
        const float first_grows = 1.f / step.correction1, second_grows = 1.f / step.correction2;
        for (int64_t i = 0; i < size; ++i) {
            first[i] = step.beta1 * first[i] + (1 - step.beta1) * g[i];
            second[i] = step.beta2 * second[i] + (1 - step.beta2) * square[i];
            const float scale = rate / (std::sqrt(second[i] * second_grows) + eps);
            value[i] -= scale * first_grows * first[i];
            move[i] = scale * step.residual_rate * g[i];
        }
        const bool blended = channel < kBlended;
        if (blended && blend.steps > 0)
            std::copy(move, move + size, blend.moves + (blend.steps - 1) * kBlended * count + at);
        if (blend.blend == nullptr) continue;
        float* to = out + at;
        std::copy(value, value + size, to);
        if (!blended) continue;
        for (int64_t i = 0; i < size; ++i) to[i] += blend.blend[at + i];
        for (int64_t j = 0; j < blend.steps; ++j) {
            const float* moved = blend.moves + j * kBlended * count + at;
            const float weight = blend.weights[j];
            for (int64_t i = 0; i < size; ++i) to[i] -= weight * moved[i];
        }
    }
}

namespace {

// Coefficients of kTogether steps or frames of one component, those that there are not zero.
struct Row {
    float of[kTogether];
};

// Floats [at, at + Width * kLanes) of one channel of all components, of a matrix product that stays in registers.
template <int Width, bool Moves>
inline void settle_part(float* residual, const Row* now, const float* const* moves, const Row* next, float* const* blends,
                        int64_t frames, int64_t bases, int64_t pitch, int64_t at) {
    Vec blend[kTogether][Width] = {};
    for (int64_t k = 0; k < bases; ++k) {
        float* basis = residual + k * pitch + at;
        __builtin_prefetch(basis + 6 * kLanes, 1);
        Vec value[Width];
#pragma GCC unroll 2
        for (int w = 0; w < Width; ++w) value[w] = load(basis + w * kLanes);
        if (Moves) {
#pragma GCC unroll 8
            for (int j = 0; j < kTogether; ++j)
#pragma GCC unroll 2
                for (int w = 0; w < Width; ++w)
                    value[w] -= splat(now[k].of[j]) * load(moves[j] + at + w * kLanes);
#pragma GCC unroll 2
            for (int w = 0; w < Width; ++w) store(basis + w * kLanes, value[w]);
        }
#pragma GCC unroll 8
        for (int m = 0; m < kTogether; ++m)
#pragma GCC unroll 2
            for (int w = 0; w < Width; ++w) blend[m][w] += splat(next[k].of[m]) * value[w];
    }
    for (int64_t m = 0; m < frames; ++m)
        for (int w = 0; w < Width; ++w) store(blends[m] + at + w * kLanes, blend[m][w]);
}

// The floats [begin, end), fewer than a vector. The same operations in the same order.
inline void settle_rest(float* residual, const Row* now, const float* const* moves, int64_t steps, const Row* next,
                        float* const* blends, int64_t frames, int64_t bases, int64_t pitch, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
        float blend[kTogether] = {};
        for (int64_t k = 0; k < bases; ++k) {
            float& value = residual[k * pitch + at];
            for (int64_t j = 0; j < steps; ++j) value -= now[k].of[j] * moves[j][at];
            for (int64_t m = 0; m < frames; ++m) blend[m] += next[k].of[m] * value;
        }
        for (int64_t m = 0; m < frames; ++m) blends[m][at] = blend[m];
    }
}

}  // namespace

void settle(float* residual, const float* coefficients, const float* moves, int64_t steps, const float* following,
            float* blends, int64_t frames, int64_t bases, int64_t count) {
    constexpr int64_t kPart = 512;
    const int64_t parts = (count + kPart - 1) / kPart, pitch = kBlended * count;
    Scratch<Row> now(bases), next(bases);
    for (int64_t k = 0; k < bases; ++k)
        for (int64_t j = 0; j < kTogether; ++j) {
            now[k].of[j] = j < steps ? coefficients[j * bases + k] : 0.f;
            next[k].of[j] = j < frames ? following[j * bases + k] : 0.f;
        }
#pragma omp parallel for schedule(static)
    for (int64_t job = 0; job < kBlended * parts; ++job) {
        const int64_t channel = job / parts, begin = job % parts * kPart, end = std::min(begin + kPart, count);
        const float* moved[kTogether];
        float* blended[kTogether];
        for (int64_t j = 0; j < kTogether; ++j) {
            moved[j] = moves + (j < steps ? j : 0) * pitch + channel * count;
            blended[j] = blends + (j < frames ? j : 0) * pitch + channel * count;
        }
        float* own = residual + channel * count;
        int64_t at = begin;
        for (; at + 2 * kLanes <= end; at += 2 * kLanes) {
            if (steps > 0) settle_part<2, true>(own, now, moved, next, blended, frames, bases, pitch, at);
            else settle_part<2, false>(own, now, moved, next, blended, frames, bases, pitch, at);
        }
        for (; at + kLanes <= end; at += kLanes) {
            if (steps > 0) settle_part<1, true>(own, now, moved, next, blended, frames, bases, pitch, at);
            else settle_part<1, false>(own, now, moved, next, blended, frames, bases, pitch, at);
        }
        settle_rest(own, now, moved, steps, next, blended, frames, bases, pitch, at, end);
    }
}

}  // namespace avatarkit::AK_ISA
