#include "common/isa.h"

#include <cstdlib>
#include <cstring>

namespace avatarkit {

namespace {

Isa detect() {
    const char* wish = std::getenv("AVATARKIT_ISA");
    if (wish != nullptr && std::strcmp(wish, "baseline") == 0) return Isa::baseline;
#if AK_HAS_AVX512
    __builtin_cpu_init();
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl");
    if (has) return Isa::avx512;
#endif
    return Isa::baseline;
}

}  // namespace

Isa active_isa() {
    static const Isa isa = detect();
    return isa;
}

}  // namespace avatarkit
