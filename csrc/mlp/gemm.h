// Small matrix products held in registers: C [rows][kColumns] = or += A B, with A read one float at a time.
#pragma once

#include "common/simd.h"

namespace avatarkit::AK_ISA {

// A's element (row, r) is a[row * row_stride + r * inner_stride], so that the same kernel multiplies by A or by its
// transpose; B is [inner][ldb], C [..][ldc]. Rows x Vectors accumulators live in registers.
template <int Rows, int Vectors>
inline void gemm_block(const float* a, int64_t row_stride, int64_t inner_stride, const float* b, int64_t ldb, int inner,
                       float* c, int64_t ldc, bool accumulate) {
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) sums[i][j] = accumulate ? load(c + i * ldc + j * kLanes) : Vec{};
    for (int r = 0; r < inner; ++r) {
        Vec columns[Vectors];
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) columns[j] = load(b + r * ldb + j * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const Vec x = splat(a[i * row_stride + r * inner_stride]);
#pragma GCC unroll 8
            for (int j = 0; j < Vectors; ++j) sums[i][j] += x * columns[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) store(c + i * ldc + j * kLanes, sums[i][j]);
}

// Register tile for a width of `Columns`: 6 x 64 fills 24 of AVX-512's 32 registers, 6 x 16 twelve of AVX2's 16.
template <int Columns>
struct Tile {
    static constexpr int most = kLanes == 16 ? 4 : 2;
    static constexpr int vectors = Columns / kLanes < most ? Columns / kLanes : most;
    static constexpr int rows = vectors == 1 ? 12 : 6;
};

template <int Columns>
inline void gemm(int rows, const float* a, int64_t row_stride, int64_t inner_stride, const float* b, int64_t ldb,
                 int inner, float* c, int64_t ldc, bool accumulate) {
    constexpr int vectors = Tile<Columns>::vectors, step = Tile<Columns>::rows;
    for (int j = 0; j < Columns; j += vectors * kLanes) {
        int i = 0;
        for (; i + step <= rows; i += step)
            gemm_block<step, vectors>(a + i * row_stride, row_stride, inner_stride, b + j, ldb, inner, c + i * ldc + j,
                                      ldc, accumulate);
        for (; i + 4 <= rows; i += 4)
            gemm_block<4, vectors>(a + i * row_stride, row_stride, inner_stride, b + j, ldb, inner, c + i * ldc + j,
                                   ldc, accumulate);
        // Not one row at a time: a lone row waits for each of its sums.
        const int rest = rows - i;
        if (rest == 3)
            gemm_block<3, vectors>(a + i * row_stride, row_stride, inner_stride, b + j, ldb, inner, c + i * ldc + j,
                                   ldc, accumulate);
        else if (rest == 2)
            gemm_block<2, vectors>(a + i * row_stride, row_stride, inner_stride, b + j, ldb, inner, c + i * ldc + j,
                                   ldc, accumulate);
        else if (rest == 1)
            gemm_block<1, vectors>(a + i * row_stride, row_stride, inner_stride, b + j, ldb, inner, c + i * ldc + j,
                                   ldc, accumulate);
    }
}

}  // namespace avatarkit::AK_ISA
