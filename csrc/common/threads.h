// Division of work over OpenMP threads. Include in *_cpu.cpp.
#pragma once

#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace avatarkit::AK_ISA {

inline int thread_count() {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

struct Range {
    int64_t begin, end;
};

// The part of [0, total) that belongs to `part` of `parts`, in multiples of `grain`.
inline Range part_of(int64_t total, int part, int parts, int64_t grain = 1) {
    const int64_t grains = (total + grain - 1) / grain;
    const int64_t begin = grains * part / parts * grain, end = grains * (part + 1) / parts * grain;
    return {begin < total ? begin : total, end < total ? end : total};
}

}  // namespace avatarkit::AK_ISA
