#include "common/arrays.h"
#include "composite/composite.h"

void bind_composite(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("composite", [](Floats density, Floats rgb, Floats t, Longs ray_offsets, double step, double minimum,
                          bool distortion, Floats color, Floats alpha, Floats depth, Floats weights, Floats spread) {
        const RaySamples in{density.data(), rgb.data(), t.data(), ray_offsets.data(),
                            static_cast<int64_t>(alpha.shape(0)), static_cast<float>(step),
                            static_cast<float>(minimum), distortion};
        const RaySums out{color.data(), alpha.data(), depth.data(), weights.data(), spread.data()};
        nb::gil_scoped_release release;
        AK_CALL(composite, in, out);
    });
    m.def("composite_backward",
          [](Floats density, Floats rgb, Floats t, Longs ray_offsets, Floats weights, double step, double minimum,
             bool distortion, Floats color, Floats alpha, Floats depth, Floats spread, Floats to_density,
             Floats to_rgb) {
        const RaySamples in{density.data(), rgb.data(), t.data(), ray_offsets.data(),
                            static_cast<int64_t>(alpha.shape(0)), static_cast<float>(step),
                            static_cast<float>(minimum), distortion};
        const RayGradients gradients{color.data(), alpha.data(), depth.data(), spread.data()};
        nb::gil_scoped_release release;
        AK_CALL(composite_backward, in, weights.data(), gradients, to_density.data(), to_rgb.data());
    });
}
