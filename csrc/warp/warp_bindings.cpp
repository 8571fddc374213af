#include "common/arrays.h"
#include "warp/warp.h"

namespace avatarkit {

// The grid of a volume [z][y][x][4]; none in an empty one.
WarpGrid warp_grid(const Floats& volume, double x, double y, double z, double spacing) {
    WarpGrid grid{{static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)}, static_cast<float>(spacing), {}};
    if (volume.ndim() == 4)
        for (int axis = 0; axis < 3; ++axis) grid.nodes[axis] = static_cast<int64_t>(volume.shape(2 - axis));
    return grid;
}

}  // namespace avatarkit

void bind_warp(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("warp_volume", [](Floats places, Floats moves, double softening, double still, double x, double y, double z,
                            double spacing, Floats volume) {
        const WarpAnchors anchors{places.data(), moves.data(), static_cast<int64_t>(places.shape(0)),
                                  static_cast<float>(softening), static_cast<float>(still)};
        const WarpGrid grid = warp_grid(volume, x, y, z, spacing);
        nb::gil_scoped_release release;
        AK_CALL(warp_volume, anchors, grid, volume.data());
    });
    m.def("warp_points", [](Floats points, double x, double y, double z, double spacing, Floats volume, int64_t begin,
                            int64_t end, Floats out) {
        const WarpGrid grid = warp_grid(volume, x, y, z, spacing);
        nb::gil_scoped_release release;
        AK_CALL(warp_points, points.data() + 3 * begin, end - begin, grid, volume.data(), out.data() + 3 * begin);
    });
}
