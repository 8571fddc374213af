// Convolution over the active sites of a sparse grid (avatarkit/ops/sparse.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

// Which input row each tap of the kernel carries to which output row. The pairs of tap k are begin[k] to begin[k + 1];
// within a tap targets rise and are distinct.
struct SparseRules {
    const int32_t *source, *target;
    const int64_t* begin;
    int taps;
};

}  // namespace avatarkit

// The rules of a 3 x 3 x 3 kernel. `table` [depth][height][width] holds the input row of every cell, -1 where there is
// none; `centers` [outputs][3] (x, y, z) are the cells around which each output reads, none of them at the table's
// edge. source and target have room for 27 * outputs pairs, begin [28].
AK_DECLARE(void sparse_rules(const int32_t* table, int64_t height, int64_t width, const int32_t* centers, int64_t outputs,
                             int32_t* source, int32_t* target, int64_t* begin))

// The same pairs with sources and targets exchanged, targets rising again; begin stays as it is.
AK_DECLARE(void sparse_reverse(const SparseRules& rules, int64_t inputs, int32_t* source, int32_t* target))

// out [outputs][to] = sum over taps k and their pairs of in[source] (of `from` numbers) times weights[k] [from][to].
// `from` and `to` are multiples of 16. Each output row is summed by one thread, taps in order: deterministic.
AK_DECLARE(void sparse_conv(const SparseRules& rules, const float* in, int64_t from, const float* weights, int64_t to,
                            int64_t outputs, float* out))

// The gradient of in: like sparse_conv from `gradient` [..][to] to out [inputs][from], with each tap's matrix [from][to]
// transposed. `mirrored`: pairs of tap k belong to the matrix of the last tap but k, not to that of tap k.
AK_DECLARE(void sparse_conv_inputs(const SparseRules& rules, const float* gradient, int64_t to, const float* weights,
                                   bool mirrored, int64_t from, int64_t inputs, float* out))

// weights [taps][from][to] = sum over pairs of in[source] (column) times gradient[target] (row).
AK_DECLARE(void sparse_conv_weights(const SparseRules& rules, const float* in, int64_t from, const float* gradient,
                                    int64_t to, float* weights))
