// Run-time choice of instruction set. Every *_cpu.cpp is compiled once per set with AK_ISA naming the namespace
// it defines its functions in; headers declare them in all with AK_DECLARE, bindings call through AK_CALL.
#pragma once

namespace avatarkit {

enum class Isa { baseline, avx512 };

// The best set this machine has, or the one named by the environment variable AVATARKIT_ISA (baseline, avx512).
Isa active_isa();

}  // namespace avatarkit

#define AK_DECLARE(...)                                  \
    namespace avatarkit::baseline { __VA_ARGS__; }       \
    namespace avatarkit::avx512 { __VA_ARGS__; }

#if AK_HAS_AVX512
#define AK_CALL(function, ...)                                                                     \
    (avatarkit::active_isa() == avatarkit::Isa::avx512 ? avatarkit::avx512::function(__VA_ARGS__) \
                                                       : avatarkit::baseline::function(__VA_ARGS__))
#else
#define AK_CALL(function, ...) avatarkit::baseline::function(__VA_ARGS__)
#endif
