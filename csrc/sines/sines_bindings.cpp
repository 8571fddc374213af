#include "common/arrays.h"
#include "sines/sines.h"

void bind_sines(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("sine_mlp", [](Floats features, Floats extra, Floats weight0, Floats bias0, Floats weight1, Floats bias1,
                         Floats weight2, Floats bias2, Floats rgb, Floats phases) {
        const SineSamples in{features.data(), extra.data(), static_cast<int64_t>(extra.shape(0))};
        const SineNetwork net{weight0.data(), bias0.data(), weight1.data(), bias1.data(), weight2.data(), bias2.data()};
        float* kept = phases.shape(0) == extra.shape(0) ? phases.data() : nullptr;
        nb::gil_scoped_release release;
        AK_CALL(sine_mlp, in, net, rgb.data(), kept);
    });
    m.def("sine_mlp_backward",
          [](Floats features, Floats extra, Floats weight0, Floats bias0, Floats weight1, Floats bias1, Floats weight2,
             Floats bias2, Floats rgb, Floats phases, Floats grad_rgb, Floats to_features, Floats to_extra,
             Floats to_weight0, Floats to_bias0, Floats to_weight1, Floats to_bias1, Floats to_weight2,
             Floats to_bias2) {
        const SineSamples in{features.data(), extra.data(), static_cast<int64_t>(extra.shape(0))};
        const SineNetwork net{weight0.data(), bias0.data(), weight1.data(), bias1.data(), weight2.data(), bias2.data()};
        const SineGradients out{to_features.data(), to_extra.data(), to_weight0.data(), to_bias0.data(),
                                to_weight1.data(),  to_bias1.data(), to_weight2.data(), to_bias2.data()};
        nb::gil_scoped_release release;
        AK_CALL(sine_mlp_backward, in, net, rgb.data(), phases.data(), grad_rgb.data(), out);
    });
}
