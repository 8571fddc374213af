// Rigged Gaussians as Python passes them. For bindings.
#pragma once

#include "anchors/anchors.h"
#include "common/arrays.h"

namespace avatarkit {

inline Rigged rigged_of(const Floats& gaussians, const Floats& bones, const Ints& bone, const Floats& visibility) {
    return {gaussians.data(), bones.data(), bone.data(), visibility.data(), static_cast<int64_t>(bone.shape(0)),
            static_cast<int64_t>(bones.shape(1))};
}

}  // namespace avatarkit
