#include "common/arrays.h"
#include "occupancy/occupancy.h"

void bind_occupancy(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("pack_bits", [](Floats values, double threshold, Bytes bits) {
        const auto count = static_cast<int64_t>(values.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(pack_bits, values.data(), count, static_cast<float>(threshold), bits.data());
    });
    m.def("dilate_bits", [](Bytes bits, int64_t cells, Bytes out) {
        nb::gil_scoped_release release;
        AK_CALL(dilate_bits, bits.data(), cells, out.data());
    });
    m.def("raise_at_points", [](Floats values, int64_t cells, Floats points, Floats weights, double least) {
        const auto count = static_cast<int64_t>(weights.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(raise_at_points, values.data(), cells, points.data(), weights.data(), count,
                static_cast<float>(least));
    });
}
