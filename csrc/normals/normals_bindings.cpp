#include "common/arrays.h"
#include "normals/normals.h"

void bind_normals(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("vertex_normals", [](Floats vertices, Ints triangles, Ints first, Ints corners, Floats sums, Floats normals) {
        const NormalsShape shape{static_cast<int64_t>(vertices.shape(0)), static_cast<int64_t>(triangles.shape(0))};
        const Incidence around{first.data(), corners.data()};
        nb::gil_scoped_release release;
        AK_CALL(vertex_normals, vertices.data(), triangles.data(), shape, around, sums.data(), normals.data());
    });
    m.def("vertex_normals_backward", [](Floats vertices, Ints triangles, Ints first, Ints corners, Floats sums,
                                        Floats grad_normals, Floats grad_vertices) {
        const NormalsShape shape{static_cast<int64_t>(vertices.shape(0)), static_cast<int64_t>(triangles.shape(0))};
        const Incidence around{first.data(), corners.data()};
        nb::gil_scoped_release release;
        AK_CALL(vertex_normals_backward, vertices.data(), triangles.data(), shape, around, sums.data(),
                grad_normals.data(), grad_vertices.data());
    });
}
