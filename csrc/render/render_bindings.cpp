#include "common/arrays.h"
#include "render/render.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace avatarkit {

VisibleSample* VisibleList::reserve(int64_t more) {
    if (count + more > capacity) {
        const int64_t wanted = std::max(count + more, 2 * capacity);
        void* memory = std::realloc(samples, static_cast<size_t>(wanted) * sizeof(VisibleSample));
        if (memory == nullptr) throw std::bad_alloc();
        samples = static_cast<VisibleSample*>(memory);
        capacity = wanted;
    }
    return samples + count;
}

VisibleSamples::~VisibleSamples() { clear(); }

void VisibleSamples::clear() {
    for (int64_t i = 0; i < count_; ++i) std::free(lists_[i].samples);
    delete[] lists_;
    delete[] groups_;
}

void VisibleSamples::resize(int64_t groups) {
    clear();
    groups_ = new VisibleGroup[static_cast<size_t>(groups)];
    lists_ = new VisibleList[static_cast<size_t>(groups)];
    count_ = groups;
}

MarchInput march_input(const Floats& origins, const Floats& directions, const Bytes& bitfield, int64_t cells,
                       double step, int64_t max_samples, int64_t seed);                  // march_bindings.cpp
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
        const FieldNetwork net{density0.data(), density1.data(), color0.data(), color1.data(),
                               static_cast<int>(density0.shape(0))};
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
        const FieldNetwork net{density0.data(), density1.data(), nullptr, nullptr, static_cast<int>(density0.shape(0))};
        nb::gil_scoped_release release;
        AK_CALL(density_at, in, grid, tables.data(), net, density.data());
    });
    nb::class_<VisibleSamples>(m, "VisibleSamples").def(nb::init<>());
    m.def("find_visible", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, double step,
                             int64_t max_samples, int64_t seed, Longs image_rays, Floats volumes, double x, double y,
                             double z, double spacing, double minimum, Floats tables, Ints layout, int log2_size,
                             Floats density0, Floats density1, Longs ray_offsets, VisibleSamples& found) {
        VisibleInput in{march_input(origins, directions, bitfield, cells, step, max_samples, seed),
                        image_rays.data(),
                        static_cast<int64_t>(tables.shape(0)),
                        static_cast<float>(minimum),
                        nullptr,
                        0,
                        {{static_cast<float>(x), static_cast<float>(y), static_cast<float>(z)},
                         static_cast<float>(spacing),
                         {}}};
        if (volumes.ndim() == 5) {
            in.volumes = volumes.data();
            in.volume_floats = static_cast<int64_t>(volumes.size() / volumes.shape(0));
            for (int axis = 0; axis < 3; ++axis) in.warp.nodes[axis] = static_cast<int64_t>(volumes.shape(3 - axis));
        }
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(tables.shape(1)));
        const FieldNetwork net{density0.data(), density1.data(), nullptr, nullptr, static_cast<int>(density0.shape(0))};
        {
            nb::gil_scoped_release release;
            AK_CALL(find_visible, in, grid, tables.data(), net, ray_offsets.data(), found);
        }
        return ray_offsets.data()[in.rays.rays];
    });
    m.def("fill_visible", [](Floats origins, Floats directions, Longs ray_offsets, VisibleSamples& found,
                             Floats points, Floats t, Floats from, Floats features) {
        const MarchInput rays{origins.data(), directions.data(), static_cast<int64_t>(origins.shape(0)), nullptr, 0, 0.f,
                              0, 0};
        const VisibleOutput out{points.data(), t.data(), from.data(), features.data(),
                                static_cast<int64_t>(features.shape(0))};
        nb::gil_scoped_release release;
        AK_CALL(fill_visible, rays, ray_offsets.data(), found, out);
    });
}
