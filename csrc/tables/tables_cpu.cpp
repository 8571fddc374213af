#include "tables/tables.h"

#include <algorithm>

#include "common/brain.h"
#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {
namespace {

// Adam (Kingma and Ba 2015, algorithm 1) on a vector of values.
class Adam {
  public:
    Adam(const AdamStep& step, float lr)
        : beta1_(1.f - step.beta1), beta2_(1.f - step.beta2), rate_(lr / step.correction1),
          unbias_(1.f / step.correction2), eps_(step.eps) {}

    Vec operator()(Vec value, Vec& first, Vec& second, Vec gradient) const {
        first += splat(beta1_) * (gradient - first);
        second += splat(beta2_) * (gradient * gradient - second);
        // sqrt(x) = x / sqrt(x), kept off 0 far below any eps. Estimates: divisions and roots would take longer than
        // the memory.
        const Vec square = larger(second * splat(unbias_), splat(1e-36f));
        return value - splat(rate_) * first * reciprocal(square * reciprocal_root(square) + splat(eps_));
    }

  private:
    float beta1_, beta2_, rate_, unbias_, eps_;
};

// Loads up to kLanes floats; a partial vector is filled with zeros.
inline Vec load_some(const float* p, int64_t count) {
    if (count >= kLanes) return load(p);
    float padded[kLanes] = {};
    std::copy(p, p + count, padded);
    return load(padded);
}

inline void store_some(float* p, Vec v, int64_t count) {
    if (count >= kLanes) return store(p, v);
    float padded[kLanes];
    store(padded, v);
    std::copy(padded, padded + count, p);
}

// to [length] += weight * from [length].
inline void add_scaled(float* to, const float* from, float weight, int64_t length) {
    for (int64_t i = 0; i < length; i += kLanes) {
        const int64_t some = length - i;
        store_some(to + i, load_some(to + i, some) + splat(weight) * load_some(from + i, some), some);
    }
}

struct Active {
    int64_t basis;
    bool update, blend;
};

// The bases that either batch uses, in order.
int64_t find_active(const float* coefficients, int64_t images, const float* next, int64_t next_images, int64_t count,
                    Active* active) {
    int64_t found = 0;
    for (int64_t k = 0; k < count; ++k) {
        bool update = false, blends = false;
        for (int64_t b = 0; b < images; ++b) update |= coefficients[b * count + k] != 0.f;
        for (int64_t b = 0; b < next_images; ++b) blends |= next[b * count + k] != 0.f;
        if (update || blends) active[found++] = {k, update, blends};
    }
    return found;
}

// One block of up to kBlock floats through the whole step.
struct BlockStep {
    const Adam base_adam, bases_adam;
    float l2;
    const float *gradients, *coefficients, *next_coefficients;
    int64_t table, count, images, next_images;
    const Active* active;
    int64_t active_count;

    void base(float* value, float* moments, int64_t at, int64_t length, float* out) const {
        float *first = moments + at, *second = moments + table + at;
        for (int64_t i = 0; i < length; i += kLanes) {
            const int64_t some = length - i;
            Vec gradient = load_some(gradients + at + i, some);
            for (int64_t b = 1; b < images; ++b) gradient += load_some(gradients + b * table + at + i, some);
            if (images == 0) gradient = Vec{};
            Vec m = load_some(first + i, some), v = load_some(second + i, some);
            const Vec updated = base_adam(load_some(value + at + i, some), m, v, gradient);
            store_some(value + at + i, updated, some);
            store_some(first + i, m, some);
            store_some(second + i, v, some);
            for (int64_t b = 0; b < next_images; ++b) store_some(out + b * table + at + i, updated, some);
        }
    }

    // One basis of the block: `value` and its moments are [kBlock]; `gradient` and `blended` are this block's rows of
    // the batches, [images][kBlock] in the cache. With Images above 0 both batches have so many images, and the loops
    // over them are unrolled. Memory of the basis that comes `ahead` floats further is asked for on the way: every
    // basis begins a page, where the hardware has to see its pattern anew.
    template <int Images>
    void basis(const Active& which, float* value, Brain* first, Brain* second, const float* gradient, float* blended,
               int64_t ahead) const {
        const int64_t k = which.basis, before = Images > 0 ? Images : images, after = Images > 0 ? Images : next_images;
        for (int64_t i = 0; i < kBlock; i += kLanes) {
            Vec now = load(value + i);
            __builtin_prefetch(value + i + ahead, 1);
            if (which.update) {
                Vec g = splat(l2) * now;
#pragma GCC unroll 4
                for (int64_t b = 0; b < before; ++b)
                    g += splat(coefficients[b * count + k]) * load(gradient + b * kBlock + i);
                __builtin_prefetch(first + i + ahead, 1);
                __builtin_prefetch(second + i + ahead, 1);
                Vec m = load(first + i), v = load(second + i);
                now = bases_adam(now, m, v, g);
                store(value + i, now);
                store(first + i, m);
                store(second + i, v);
            }
            if (which.blend)
#pragma GCC unroll 4
                for (int64_t b = 0; b < after; ++b) {
                    float* to = blended + b * kBlock + i;
                    store(to, load(to) + splat(next_coefficients[b * count + k]) * now);
                }
        }
    }
};

}  // namespace

void blend(const float* base, int64_t table, const float* bases, const Bases& shape, const float* coefficients,
           int64_t images, float* out) {
    const int64_t blocks = (table + kBlock - 1) / kBlock;
    Scratch<Active> active(shape.count);
    const int64_t used = find_active(coefficients, 0, coefficients, images, shape.count, active);
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (int64_t block = 0; block < blocks; ++block) {
        const int64_t at = block * kBlock, length = std::min(kBlock, table - at);
        for (int64_t b = 0; b < images; ++b) std::copy(base + at, base + at + length, out + b * table + at);
        const int64_t within = std::min(length, shape.prefix - at);
        for (int64_t a = 0; a < used && within > 0; ++a)
            for (int64_t b = 0; b < images; ++b) {
                const int64_t k = active[a].basis;
                const float weight = coefficients[b * shape.count + k];
                if (weight != 0.f)
                    add_scaled(out + b * table + at, bases + k * shape.basis_stride + block * shape.block_stride,
                               weight, within);
            }
    }
}

void adam_blend(float* base, float* base_moments, int64_t table, float* bases, uint16_t* bases_moments,
                const Bases& shape, const AdamStep& step, const float* gradients, const float* coefficients,
                int64_t images, const float* next_coefficients, int64_t next_images, float* out) {
    const int64_t blocks = (table + kBlock - 1) / kBlock;
    const int64_t packed_blocks = (shape.prefix + kBlock - 1) / kBlock;
    Scratch<Active> active(shape.count);
    const int64_t used = find_active(coefficients, images, next_coefficients, next_images, shape.count, active);
    const BlockStep run{Adam(step, step.lr), Adam(step, step.lr_bases), step.l2, gradients, coefficients,
                        next_coefficients, table, shape.count, images, next_images, active, used};
    uint16_t* second_moments = bases_moments + packed_blocks * shape.count * kBlock;
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> gradient(images * kBlock + 1), blended(next_images * kBlock + 1);
#pragma omp for schedule(dynamic, 4)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t at = block * kBlock, length = std::min(kBlock, table - at);
            run.base(base, base_moments, at, length, out);
            const int64_t within = std::min(length, shape.prefix - at);
            if (within <= 0) continue;
            for (int64_t b = 0; b < images; ++b) {
                const float* from = gradients + b * table + at;
                std::copy(from, from + within, gradient + b * kBlock);
                std::fill(gradient + b * kBlock + within, gradient + (b + 1) * kBlock, 0.f);
            }
            for (int64_t b = 0; b < next_images; ++b)
                std::copy(out + b * table + at, out + b * table + at + within, blended + b * kBlock);
            for (int64_t a = 0; a < used; ++a) {
                const int64_t place = (block * shape.count + active[a].basis) * kBlock;
                const int64_t ahead = a + 1 < used ? (active[a + 1].basis - active[a].basis) * kBlock : 0;
                const auto step_basis = images == 4 && next_images == 4 ? &BlockStep::basis<4> : &BlockStep::basis<0>;
                (run.*step_basis)(active[a], bases + place, bases_moments + place, second_moments + place, gradient,
                                  blended, ahead);
            }
            for (int64_t b = 0; b < next_images; ++b)
                std::copy(blended + b * kBlock, blended + b * kBlock + within, out + b * table + at);
        }
    }
}

}  // namespace avatarkit::AK_ISA
