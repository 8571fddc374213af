#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <nanobind/stl/optional.h>

#include "raster/raster.h"

namespace nb = nanobind;

namespace {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using Longs = nb::ndarray<nb::numpy, int64_t, nb::shape<-1, 4>, nb::c_contig>;

// Shapes are checked by avatarkit/ops/raster.py; vertices [B, V, 3], triangles [F, 3], face [B, H, W].
avatarkit::RasterShape shape_of(const Indices& triangles, const Indices& face, int64_t vertices) {
    return {static_cast<int64_t>(face.shape(0)), vertices, static_cast<int64_t>(triangles.shape(0)),
            static_cast<int64_t>(face.shape(1)), static_cast<int64_t>(face.shape(2))};
}

float* data_or_null(std::optional<Floats>& array) { return array ? array->data() : nullptr; }

}  // namespace

void bind_raster(nb::module_& m) {
    m.def("rasterize_forward", [](Floats vertices, Indices triangles, bool perspective, Indices face,
                                  Floats barycentric, Floats depth) {
        const auto shape = shape_of(triangles, face, vertices.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(rasterize_forward, vertices.data(), triangles.data(), shape, perspective, face.data(),
                barycentric.data(), depth.data());
    });
    m.def("rasterize_backward", [](Floats vertices, Indices triangles, bool perspective, Indices face,
                                   Floats barycentric, Floats grad_barycentric,
                                   std::optional<Floats> grad_depth, Floats grad_vertices) {
        const auto shape = shape_of(triangles, face, vertices.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(rasterize_backward, vertices.data(), triangles.data(), shape, perspective, face.data(),
                barycentric.data(), grad_barycentric.data(), data_or_null(grad_depth), grad_vertices.data());
    }, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg());
    m.def("interpolate_forward", [](Floats attributes, Indices triangles, Indices face, Floats barycentric,
                                    Floats out) {
        const bool per_image = attributes.ndim() == 3;
        const auto shape = shape_of(triangles, face, attributes.shape(attributes.ndim() - 2));
        nb::gil_scoped_release release;
        AK_CALL(interpolate_forward, attributes.data(), triangles.data(), shape, out.shape(3), per_image, face.data(),
                barycentric.data(), out.data());
    });
    m.def("interpolate_backward", [](Floats attributes, Indices triangles, Indices face, Floats barycentric,
                                     Floats grad_out, std::optional<Floats> grad_attributes,
                                     std::optional<Floats> grad_barycentric) {
        const bool per_image = attributes.ndim() == 3;
        const auto shape = shape_of(triangles, face, attributes.shape(attributes.ndim() - 2));
        nb::gil_scoped_release release;
        AK_CALL(interpolate_backward, attributes.data(), triangles.data(), shape, grad_out.shape(3), per_image,
                face.data(), barycentric.data(), grad_out.data(), data_or_null(grad_attributes),
                data_or_null(grad_barycentric));
    }, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
    m.def("texture_forward", [](Floats texture, Floats uv, std::optional<Indices> face, Floats out) {
        const int32_t* mask = face ? face->data() : nullptr;
        nb::gil_scoped_release release;
        AK_CALL(texture_forward, texture.data(), texture.shape(0), texture.shape(1), texture.shape(2), uv.data(),
                mask, uv.shape(0), out.data());
    }, nb::arg(), nb::arg(), nb::arg().none(), nb::arg());
    m.def("texture_backward", [](Floats texture, Floats uv, std::optional<Indices> face, Floats grad_out,
                                 std::optional<Floats> grad_texture, std::optional<Floats> grad_uv) {
        const int32_t* mask = face ? face->data() : nullptr;
        nb::gil_scoped_release release;
        AK_CALL(texture_backward, texture.data(), texture.shape(0), texture.shape(1), texture.shape(2), uv.data(),
                mask, uv.shape(0), grad_out.data(), data_or_null(grad_texture), data_or_null(grad_uv));
    }, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg().none(), nb::arg().none());
    m.def("silhouette_pairs", [](Floats vertices, Indices triangles, Indices opposite, Indices face, Floats depth) {
        const auto shape = shape_of(triangles, face, vertices.shape(1));
        auto* pairs = new std::vector<avatarkit::SilhouettePair>();
        {
            nb::gil_scoped_release release;
            AK_CALL(silhouette_pairs, vertices.data(), triangles.data(), opposite.data(), shape, face.data(),
                    depth.data(), *pairs);
        }
        static_assert(sizeof(avatarkit::SilhouettePair) == 4 * sizeof(int64_t));
        nb::capsule owner(pairs, [](void* p) noexcept {
            delete static_cast<std::vector<avatarkit::SilhouettePair>*>(p);
        });
        return Longs(reinterpret_cast<int64_t*>(pairs->data()), {pairs->size(), 4}, owner);
    });
}
