#include <nanobind/nanobind.h>

#include "blaze/blaze.h"
#include "common/arrays.h"

namespace nb = nanobind;

namespace {

std::vector<avatarkit::BlazeBlock> blocks_of(nb::list given) {
    std::vector<avatarkit::BlazeBlock> blocks;
    blocks.reserve(nb::len(given));
    for (nb::handle item : given) {
        const auto block = nb::cast<nb::tuple>(item);
        blocks.push_back({nb::cast<int64_t>(block[0]), nb::cast<int64_t>(block[1]), nb::cast<int64_t>(block[2]),
                          nb::cast<avatarkit::Floats>(block[3]).data()});
    }
    return blocks;
}

}  // namespace

// Shapes are checked by avatarkit/ops/blaze.py.
void bind_blaze(nb::module_& m) {
    using avatarkit::Bytes;
    using avatarkit::Floats;
    m.def("blaze_chain", [](Floats x, nb::list given, Floats out) {
        const auto blocks = blocks_of(given);
        const auto height = static_cast<int64_t>(x.shape(0)), width = static_cast<int64_t>(x.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(blaze_chain, x.data(), height, width, blocks, out.data());
    });
    m.def("blaze_begin", [](Bytes image, int64_t channels, Floats weights, nb::list given, Floats out) {
        const auto blocks = blocks_of(given);
        const auto height = static_cast<int64_t>(image.shape(0)), width = static_cast<int64_t>(image.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(blaze_begin, image.data(), height, width, channels, weights.data(), blocks, out.data());
    });
    m.def("blaze_sample", [](Floats x, Floats matrix, Floats out) {
        const auto height = static_cast<int64_t>(x.shape(0)), width = static_cast<int64_t>(x.shape(1));
        const auto channels = static_cast<int64_t>(x.shape(2)), side = static_cast<int64_t>(out.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(blaze_sample, x.data(), height, width, channels, matrix.data(), side, out.data());
    });
}
