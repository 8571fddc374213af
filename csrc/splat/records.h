// Vectors of splats' fields to records. Include only in *_cpu.cpp.
#pragma once

#include "splat/transpose.h"
#include "splat/splat.h"

namespace avatarkit::AK_ISA {

constexpr int kRecordFields = sizeof(SplatRecord) / sizeof(float);

// field [kRecordFields] in the order of SplatRecord to the first `used` of `records`, which have room for kLanes.
inline void store_records(Vec* field, int used, SplatRecord* records) {
#ifdef AK_AVX512
    (void)used;
    __m512 v[kRecordFields];
    for (int f = 0; f < kRecordFields; ++f) v[f] = (__m512)field[f];
    for (int group = 0; group < 4; ++group) transpose_within(v + 4 * group);
    for (int i = 0; i < 4; ++i) {
        __m512 record[4] = {v[i], v[4 + i], v[8 + i], v[12 + i]};
        transpose_quarters(record);
        for (int q = 0; q < 4; ++q) _mm512_store_ps(reinterpret_cast<float*>(records + 4 * q + i), record[q]);
    }
#else
    for (int i = 0; i < used; ++i) {
        float record[kRecordFields];
        for (int f = 0; f < kRecordFields; ++f) record[f] = field[f][i];
        std::memcpy(static_cast<void*>(records + i), record, sizeof record);
    }
#endif
}

}  // namespace avatarkit::AK_ISA
