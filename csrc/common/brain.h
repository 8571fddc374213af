// bfloat16, the upper half of a float: its range in half the memory, with 8 bits of precision.
#pragma once

#include "common/simd.h"

namespace avatarkit::AK_ISA {

typedef uint16_t Brain;
typedef Brain VecBrain __attribute__((vector_size(2 * kLanes)));
typedef uint32_t VecBits __attribute__((vector_size(4 * kLanes)));

inline Vec load(const Brain* p) {
    VecBrain v;
    std::memcpy(&v, p, sizeof v);
    return (Vec)(__builtin_convertvector(v, VecBits) << 16);
}

// Rounds to the nearest, ties to even, as torch does; only what is no number may become another.
inline void store(Brain* p, Vec v) {
    const VecBits bits = (VecBits)v;
    const VecBrain rounded = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, VecBrain);
    std::memcpy(p, &rounded, sizeof rounded);
}

}  // namespace avatarkit::AK_ISA
