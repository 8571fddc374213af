#include "common/arrays.h"
#include "hash_encoding/hash_encoding.h"

namespace avatarkit {

GridShape grid_shape(const Ints& layout, int log2_size, int64_t table) {
    static_assert(sizeof(GridLevel) == 3 * sizeof(int32_t));
    return {reinterpret_cast<const GridLevel*>(layout.data()), static_cast<int64_t>(layout.shape(0)), table,
            (1u << log2_size) - 1};
}

}  // namespace avatarkit

void bind_hash_encoding(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("hash_encode", [](Floats points, Floats tables, Longs image_offsets, Ints layout, int log2_size,
                            Floats features) {
        const EncodeInput in{points.data(), image_offsets.data(), static_cast<int64_t>(points.shape(0)),
                             static_cast<int64_t>(tables.shape(0))};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(tables.shape(1)));
        nb::gil_scoped_release release;
        AK_CALL(hash_encode, in, grid, tables.data(), features.data());
    });
    m.def("hash_encode_backward", [](Floats points, Floats grad_features, Longs image_offsets, Ints layout,
                                     int log2_size, Floats grad_tables) {
        const EncodeInput in{points.data(), image_offsets.data(), static_cast<int64_t>(points.shape(0)),
                             static_cast<int64_t>(grad_tables.shape(0))};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(grad_tables.shape(1)));
        nb::gil_scoped_release release;
        AK_CALL(hash_encode_backward, in, grid, grad_features.data(), grad_tables.data());
    });
    m.def("hash_encode_slopes", [](Floats points, Floats tables, Floats grad_features, Longs image_offsets, Ints layout,
                                   int log2_size, Floats grad_points) {
        const EncodeInput in{points.data(), image_offsets.data(), static_cast<int64_t>(points.shape(0)),
                             static_cast<int64_t>(tables.shape(0))};
        const GridShape grid = grid_shape(layout, log2_size, static_cast<int64_t>(tables.shape(1)));
        nb::gil_scoped_release release;
        AK_CALL(hash_encode_slopes, in, grid, tables.data(), grad_features.data(), grad_points.data());
    });
}
