#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <optional>

#include "common/arrays.h"
#include "layers/layers.h"

namespace nb = nanobind;

namespace {

using avatarkit::Bytes;
using Shorts = nb::ndarray<int16_t, nb::c_contig, nb::device::cpu>;

// Shapes are checked by avatarkit/ops/layers.py; a sheet comes as
// (texture, triangles, places, vertices, opacity, soft, fold).
avatarkit::Sheet sheet_of(nb::handle item) {
    const auto parts = nb::cast<nb::tuple>(item);
    const auto texture = nb::cast<Bytes>(parts[0]);
    const auto triangles = nb::cast<avatarkit::Ints>(parts[1]);
    const auto places = nb::cast<avatarkit::Floats>(parts[2]);
    const auto vertices = nb::cast<avatarkit::Floats>(parts[3]);
    // The caller's list keeps the arrays alive.
    return {texture.data(), static_cast<int64_t>(texture.shape(0)), static_cast<int64_t>(texture.shape(1)),
            triangles.data(), static_cast<int64_t>(triangles.shape(0)), places.data(), vertices.data(),
            nb::cast<float>(parts[4]), nb::cast<bool>(parts[5]), nb::cast<float>(parts[6])};
}

}  // namespace

void bind_layers(nb::module_& m) {
    m.def("compose_layers", [](Bytes plate, nb::list layers, int64_t traced, float near, float gone, Bytes out,
                               std::optional<Bytes> still, std::optional<Bytes> alpha) {
        std::vector<avatarkit::Sheet> sheets;
        for (nb::handle item : layers) sheets.push_back(sheet_of(item));
        const avatarkit::Trace trace{traced, near, gone, still ? still->data() : nullptr,
                                     alpha ? alpha->data() : nullptr};
        const auto height = static_cast<int64_t>(out.shape(0)), width = static_cast<int64_t>(out.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(compose_layers, plate.data(), height, width, sheets, trace, out.data());
    }, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
    m.def("restore_lost", [](Bytes image, Shorts lost, Bytes still) {
        const auto height = static_cast<int64_t>(image.shape(0)), width = static_cast<int64_t>(image.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(restore_lost, image.data(), lost.data(), still.data(), height, width);
    });
}
