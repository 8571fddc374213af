#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "common/arrays.h"
#include "patches/patches.h"

namespace nb = nanobind;

namespace {

using avatarkit::Bytes;
using avatarkit::Floats;

avatarkit::Frame frame_of(const Bytes& frame) {
    return {frame.data(), static_cast<int64_t>(frame.shape(0)), static_cast<int64_t>(frame.shape(1))};
}

avatarkit::Polygon polygon_of(const Floats& points, float soft, int64_t margin) {
    return {points.data(), static_cast<int64_t>(points.shape(0)), soft, margin};
}

// A picture comes as (texels, map); the caller's tuple keeps the arrays alive.
avatarkit::Picture picture_of(nb::handle item) {
    const auto parts = nb::cast<nb::tuple>(item);
    const auto texels = nb::cast<Floats>(parts[0]);
    return {texels.data(), static_cast<int64_t>(texels.shape(0)), static_cast<int64_t>(texels.shape(1)),
            nb::cast<Floats>(parts[1]).data()};
}

// Lines come as (axes, [2, K, 2]).
avatarkit::Lines lines_of(nb::handle item) {
    const auto parts = nb::cast<nb::tuple>(item);
    const auto both = nb::cast<Floats>(parts[1]);
    const auto count = static_cast<int64_t>(both.shape(1));
    return {nb::cast<Floats>(parts[0]).data(), both.data(), count};
}

}  // namespace

// Shapes are checked by avatarkit/ops/patches.py.
void bind_patches(nb::module_& m) {
    m.def("paint_pictures", [](Bytes frame, Floats points, float soft, int64_t margin, nb::list pictures, float opacity,
                               nb::object fade, float shade, float strength) {
        std::vector<avatarkit::Picture> all;
        for (nb::handle item : pictures) all.push_back(picture_of(item));
        avatarkit::Lines lines{};
        if (!fade.is_none()) lines = lines_of(fade);
        const avatarkit::Lines* given = fade.is_none() ? nullptr : &lines;
        nb::gil_scoped_release release;
        AK_CALL(paint_pictures, frame_of(frame), polygon_of(points, soft, margin), all, opacity, given,
                avatarkit::Shade{shade, strength});
    }, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
    m.def("paint_eyeball", [](Bytes frame, Floats points, float soft, int64_t margin, nb::tuple white, nb::tuple iris,
                              float across, float down, float level, nb::tuple rest, nb::tuple lids) {
        const avatarkit::Lines now = lines_of(lids);
        const avatarkit::Eyeball eye{picture_of(white), picture_of(iris), {across, down}, level, lines_of(rest)};
        nb::gil_scoped_release release;
        AK_CALL(paint_eyeball, frame_of(frame), polygon_of(points, soft, margin), eye, now);
    });
    m.def("paint_lashes", [](Bytes frame, Floats line, Floats color, float thickness, int64_t length, float opacity) {
        nb::gil_scoped_release release;
        AK_CALL(paint_lashes, frame_of(frame), line.data(), static_cast<int64_t>(line.shape(0)), color.data(), thickness,
                length, opacity);
    });
}
