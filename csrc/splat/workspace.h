// Growing memory of a SplatFrame. Include only in *_cpu.cpp.
#pragma once

#include <new>

#include "splat/splat.h"

namespace avatarkit::AK_ISA {

// Room for `count` T in `buffer`, on a line of the cache; what it held is lost when it grows.
template <class T>
inline T* room(SplatBuffer& buffer, int64_t count) {
    const int64_t bytes = (count * static_cast<int64_t>(sizeof(T)) + 127) / 64 * 64;
    if (bytes > buffer.bytes) {
        std::free(buffer.data);
        buffer.bytes = bytes + bytes / 4 / 64 * 64;
        buffer.data = std::aligned_alloc(64, buffer.bytes);
        if (buffer.data == nullptr) {
            buffer.bytes = 0;
            throw std::bad_alloc();
        }
    }
    return static_cast<T*>(buffer.data);
}

}  // namespace avatarkit::AK_ISA
