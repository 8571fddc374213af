#include <nanobind/nanobind.h>

#include "blaze/blaze.h"
#include "common/arrays.h"

namespace nb = nanobind;

// Shapes are checked by avatarkit/ops/blaze.py.
void bind_blaze(nb::module_& m) {
    using avatarkit::BlazeBlock;
    using avatarkit::Bytes;
    using avatarkit::Floats;
    m.def("blaze_chain", [](Floats x, nb::list given, Floats out) {
        std::vector<BlazeBlock> blocks;
        blocks.reserve(nb::len(given));
        for (nb::handle item : given) {
            const auto block = nb::cast<nb::tuple>(item);
            blocks.push_back({nb::cast<int64_t>(block[0]), nb::cast<int64_t>(block[1]), nb::cast<int64_t>(block[2]),
                              nb::cast<Floats>(block[3]).data()});
        }
        const auto height = static_cast<int64_t>(x.shape(0)), width = static_cast<int64_t>(x.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(blaze_chain, x.data(), height, width, blocks, out.data());
    });
    m.def("blaze_stem", [](Bytes image, Floats weights, Floats out) {
        const auto height = static_cast<int64_t>(image.shape(0)), width = static_cast<int64_t>(image.shape(1));
        const auto channels = static_cast<int64_t>(out.shape(2));
        nb::gil_scoped_release release;
        AK_CALL(blaze_stem, image.data(), height, width, channels, weights.data(), out.data());
    });
    m.def("blaze_sample", [](Floats x, Floats matrix, Floats out) {
        const auto height = static_cast<int64_t>(x.shape(0)), width = static_cast<int64_t>(x.shape(1));
        const auto channels = static_cast<int64_t>(x.shape(2)), side = static_cast<int64_t>(out.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(blaze_sample, x.data(), height, width, channels, matrix.data(), side, out.data());
    });
}
