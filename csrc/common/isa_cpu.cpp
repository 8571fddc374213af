#include "common/isa_cpu.h"

namespace avatarkit::AK_ISA {

const char* isa_name() {
#ifdef AK_AVX512
    return "avx512";
#else
    return "baseline";
#endif
}

}  // namespace avatarkit::AK_ISA
