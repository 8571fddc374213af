#include "common/arrays.h"
#include "warp/warp.h"

void bind_warp(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("warp_volume", [](Floats places, Floats moves, double softening, double still, double x, double y, double z,
                            double side, Floats volume) {
        const WarpAnchors anchors{places.data(), moves.data(), static_cast<int64_t>(places.shape(0)),
                                  static_cast<float>(softening), static_cast<float>(still)};
        const WarpCube cube{{static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)},
                            static_cast<float>(side), static_cast<int64_t>(volume.shape(0))};
        nb::gil_scoped_release release;
        AK_CALL(warp_volume, anchors, cube, volume.data());
    });
    m.def("warp_points", [](Floats points, double x, double y, double z, double side, Floats volume, int64_t begin,
                            int64_t end, Floats out) {
        const WarpCube cube{{static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)},
                            static_cast<float>(side), static_cast<int64_t>(volume.shape(0))};
        nb::gil_scoped_release release;
        AK_CALL(warp_points, points.data() + 3 * begin, end - begin, cube, volume.data(), out.data() + 3 * begin);
    });
}
