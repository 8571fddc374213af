#include <nanobind/nanobind.h>

#include "common/arrays.h"
#include "yuv/yuv.h"

namespace nb = nanobind;

// Sizes are checked by avatarkit/ops/yuv.py.
void bind_yuv(nb::module_& m) {
    using avatarkit::Bytes;
    m.def("yuv_to_rgb", [](Bytes planes, float red, float blue, Bytes rgb) {
        const auto height = static_cast<int64_t>(rgb.shape(0)), width = static_cast<int64_t>(rgb.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(yuv_to_rgb, planes.data(), height, width, red, blue, rgb.data());
    });
    m.def("rgb_to_yuv", [](Bytes rgb, float red, float blue, Bytes planes) {
        const auto height = static_cast<int64_t>(rgb.shape(0)), width = static_cast<int64_t>(rgb.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(rgb_to_yuv, rgb.data(), height, width, red, blue, planes.data());
    });
}
