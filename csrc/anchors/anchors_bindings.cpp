#include <cmath>

#include "anchors/anchors.h"
#include "common/arrays.h"

void bind_anchors(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("deform", [](Floats vertices, Ints triangles, Floats inverse, Floats first, Floats pose, int64_t begin,
                       Floats bones) {
        const auto count = static_cast<int64_t>(triangles.shape(0)), bone_count = static_cast<int64_t>(bones.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(deform, vertices.data(), triangles.data(), inverse.data(), first.data(), pose.data(), count, begin,
                bone_count, bones.data());
    });
    m.def("carry", [](Floats gaussians, Floats bones, Ints bone, Floats visibility, Floats mean, Floats covariance,
                      Floats color, Floats opacity) {
        const auto count = static_cast<int64_t>(bone.shape(0)), bone_count = static_cast<int64_t>(bones.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(carry, gaussians.data(), bones.data(), bone.data(), visibility.data(), count, bone_count, mean.data(),
                covariance.data(), color.data(), opacity.data());
    });
    m.def("reveal", [](Floats positions, Floats bones, Ints bone, Ints behind, Ints hole, Floats frames,
                       Floats borders, Floats out) {
        const auto listed = static_cast<int64_t>(behind.shape(0)), knots = static_cast<int64_t>(borders.shape(3));
        const auto count = static_cast<int64_t>(out.shape(0)), bone_count = static_cast<int64_t>(bones.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(reveal, positions.data(), bones.data(), bone.data(), behind.data(), hole.data(), frames.data(),
                borders.data(), listed, knots, count, bone_count, out.data());
    });
    m.def("carry_backward", [](Floats gaussians, Floats bones, Ints bone, Floats visibility, Floats grad_mean,
                               Floats grad_covariance, Floats grad_color, Floats grad_opacity, Floats gradient) {
        const auto count = static_cast<int64_t>(bone.shape(0)), bone_count = static_cast<int64_t>(bones.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(carry_backward, gaussians.data(), bones.data(), bone.data(), visibility.data(), count, bone_count,
                grad_mean.data(), grad_covariance.data(), grad_color.data(), grad_opacity.data(), gradient.data());
    });
    m.def("learn", [](Floats base, Floats moments, Floats residual, Floats gradient, Floats rates,
                      Floats coefficients, Floats next_coefficients, double beta1, double beta2,
                      double residual_rate, int64_t step, Floats out) {
        const LearnStep options{static_cast<float>(beta1), static_cast<float>(beta2),
                                static_cast<float>(1.0 - std::pow(beta1, static_cast<double>(step))),
                                static_cast<float>(1.0 - std::pow(beta2, static_cast<double>(step))),
                                static_cast<float>(residual_rate)};
        const auto count = static_cast<int64_t>(base.shape(1)), bases = static_cast<int64_t>(residual.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(learn, base.data(), moments.data(), residual.data(), gradient.data(), rates.data(),
                coefficients.data(), next_coefficients.data(), bases, count, options, out.data());
    });
}
