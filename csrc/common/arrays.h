// The arrays that Python passes: contiguous, on the CPU. Shapes are checked by the wrappers in avatarkit/ops.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace avatarkit {

namespace nb = nanobind;

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Shorts = nb::ndarray<int16_t, nb::c_contig, nb::device::cpu>;  // also of 16-bit floats, by their bits
using Ints = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using Longs = nb::ndarray<int64_t, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<uint8_t, nb::c_contig, nb::device::cpu>;

}  // namespace avatarkit
