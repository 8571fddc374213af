#include "common/arrays.h"
#include "render/render.h"

namespace avatarkit {
GridShape grid_shape(const Ints& layout, int log2_size, int64_t table);  // hash_encoding_bindings.cpp
WarpGrid warp_grid(const Floats& volume, double x, double y, double z, double spacing);   // warp_bindings.cpp
}

void bind_render(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("render_rays", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, Floats table, Ints layout, int log2_size, Floats density0, Floats density1, Floats color0,
                            Floats color1, double step, int64_t max_samples, double minimum, bool fast, Floats volume, double x,
                            double y, double z, double spacing, Floats color, Floats alpha, Floats depth) {
        const MarchInput rays{origins.data(),  directions.data(), static_cast<int64_t>(origins.shape(0)),
                              bitfield.data(), cells,             static_cast<float>(step),
                              max_samples,     -1};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(table.shape(0)));
        const FieldNetwork net{density0.data(), density1.data(), color0.data(), color1.data()};
        const RenderOptions options{static_cast<float>(minimum), fast, volume.size() ? volume.data() : nullptr,
                                    warp_grid(volume, x, y, z, spacing)};
        const RenderOutput out{color.data(), alpha.data(), depth.data()};
        nb::gil_scoped_release release;
        AK_CALL(render_rays, rays, grid, table.data(), net, options, out);
    });
    m.def("density_at", [](Floats points, Floats tables, Longs image_offsets, Ints layout, int log2_size,
                           Floats density0, Floats density1, Floats density) {
        const EncodeInput in{points.data(), image_offsets.data(), static_cast<int64_t>(points.shape(0)),
                             static_cast<int64_t>(tables.shape(0))};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(tables.shape(1)));
        const FieldNetwork net{density0.data(), density1.data(), nullptr, nullptr};
        nb::gil_scoped_release release;
        AK_CALL(density_at, in, grid, tables.data(), net, density.data());
    });
    m.def("truncate_rays", [](Floats points, Longs ray_offsets, Floats tables, Longs image_offsets, Ints layout,
                              int log2_size, Floats density0, Floats density1, double step, double minimum,
                              Longs kept) {
        const TruncateInput in{points.data(),
                               ray_offsets.data(),
                               image_offsets.data(),
                               static_cast<int64_t>(kept.shape(0)),
                               static_cast<int64_t>(tables.shape(0)),
                               static_cast<float>(step),
                               static_cast<float>(minimum)};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(tables.shape(1)));
        const FieldNetwork net{density0.data(), density1.data(), nullptr, nullptr};
        nb::gil_scoped_release release;
        AK_CALL(truncate_rays, in, grid, tables.data(), net, kept.data());
    });
}
