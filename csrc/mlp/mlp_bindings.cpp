#include "common/arrays.h"
#include "mlp/mlp.h"

namespace avatarkit {
namespace {

FieldSamples samples_of(const Floats& features, const Floats& harmonics, const Longs& ray_offsets) {
    return {static_cast<int64_t>(features.shape(1)), static_cast<int64_t>(harmonics.shape(0)), features.data(),
            harmonics.data(), ray_offsets.data()};
}

}  // namespace
}  // namespace avatarkit

void bind_mlp(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("spherical_harmonics", [](Floats directions, Floats harmonics) {
        nb::gil_scoped_release release;
        AK_CALL(spherical_harmonics, directions.data(), static_cast<int64_t>(directions.shape(0)), harmonics.data());
    });
    m.def("field_mlp", [](Floats features, Floats harmonics, Longs ray_offsets, Floats density0, Floats density1,
                          Floats color0, Floats color1, Floats density, Floats rgb, Floats hidden) {
        const FieldSamples in = samples_of(features, harmonics, ray_offsets);
        const FieldNetwork net{density0.data(), density1.data(), color0.data(), color1.data(),
                               static_cast<int>(density0.shape(0))};
        float* kept = hidden.shape(0) == density.shape(0) ? hidden.data() : nullptr;
        nb::gil_scoped_release release;
        AK_CALL(field_mlp, in, net, density.data(), rgb.data(), kept);
    });
    m.def("field_mlp_backward",
          [](Floats features, Floats harmonics, Longs ray_offsets, Floats density0, Floats density1, Floats color0,
             Floats color1, Floats density, Floats rgb, Floats hidden, Floats grad_density, Floats grad_rgb,
             Floats to_features, Floats to_density0, Floats to_density1, Floats to_color0, Floats to_color1) {
        const FieldSamples in = samples_of(features, harmonics, ray_offsets);
        const FieldNetwork net{density0.data(), density1.data(), color0.data(), color1.data(),
                               static_cast<int>(density0.shape(0))};
        const FieldGradients out{to_features.data(), to_density0.data(), to_density1.data(), to_color0.data(),
                                 to_color1.data()};
        nb::gil_scoped_release release;
        AK_CALL(field_mlp_backward, in, net, density.data(), rgb.data(), hidden.data(), grad_density.data(),
                grad_rgb.data(), out);
    });
}
