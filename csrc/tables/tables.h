// Hash tables blended by expression coefficients, and Adam on them (avatarkit/ops/tables.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

// Bases of the first `prefix` floats of a table. Floats block * kBlock + i of basis k lie at
// k * basis_stride + block * block_stride + i: canonical [K][prefix] and packed [blocks][K][kBlock] both do.
struct Bases {
    int64_t count, prefix, basis_stride, block_stride;
};

constexpr int64_t kBlock = 1024;

struct AdamStep {
    float lr, lr_bases, beta1, beta2, eps, l2;
    float correction1, correction2;  // 1 - beta^step
};

}  // namespace avatarkit

// out [images][table] = base [table] + sum_k coefficients [images][K] bases_k.
AK_DECLARE(void blend(const float* base, int64_t table, const float* bases, const Bases& shape,
                      const float* coefficients, int64_t images, float* out))

// One step of Adam on base and packed bases from gradients [images][table] of the tables of `coefficients`, and
// out [next_images][table], the tables of `next_coefficients`. Moments are [2][...] of their values, those of the bases
// in bfloat16. Bases whose coefficients are all zero are left alone. Every float is worked out by one thread: the same
// bits for any number.
//
// The floor is memory: 16 bytes a float of the bases that are used (8 of the value, 4 of each moment, read and written);
// all in single precision it would be 24. The arithmetic, 10 + 2 (images + next_images) operations, hides behind it.
AK_DECLARE(void adam_blend(float* base, float* base_moments, int64_t table, float* bases, uint16_t* bases_moments,
                           const Bases& shape, const AdamStep& step, const float* gradients,
                           const float* coefficients, int64_t images, const float* next_coefficients,
                           int64_t next_images, float* out))
