#include <nanobind/stl/optional.h>

#include <cmath>
#include <optional>

#include "anchors/rigged_arrays.h"

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
        const Rigged rigged = rigged_of(gaussians, bones, bone, visibility);
        nb::gil_scoped_release release;
        AK_CALL(carry, rigged, mean.data(), covariance.data(), color.data(), opacity.data());
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
        const Rigged rigged = rigged_of(gaussians, bones, bone, visibility);
        nb::gil_scoped_release release;
        AK_CALL(carry_backward, rigged, grad_mean.data(), grad_covariance.data(), grad_color.data(),
                grad_opacity.data(), gradient.data());
    });
    m.def("learn", [](Floats base, Floats moments, Floats gradient, Floats rates, std::optional<Floats> blend,
                      Floats moves, Floats weights, double beta1, double beta2, double residual_rate, int64_t step,
                      Floats out) {
        const LearnStep options{static_cast<float>(beta1), static_cast<float>(beta2),
                                static_cast<float>(1.0 - std::pow(beta1, static_cast<double>(step))),
                                static_cast<float>(1.0 - std::pow(beta2, static_cast<double>(step))),
                                static_cast<float>(residual_rate)};
        const LearnBlend adds{blend ? blend->data() : nullptr, weights.data(), moves.data(),
                              static_cast<int64_t>(moves.shape(0))};
        const auto count = static_cast<int64_t>(base.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(learn, base.data(), moments.data(), gradient.data(), rates.data(), count, options, adds, out.data());
    }, nb::arg("base"), nb::arg("moments"), nb::arg("gradient"), nb::arg("rates"), nb::arg("blend").none(),
       nb::arg("moves"), nb::arg("weights"), nb::arg("beta1"), nb::arg("beta2"), nb::arg("residual_rate"),
       nb::arg("step"), nb::arg("out"));
    m.def("settle", [](Floats residual, Floats coefficients, Floats moves, Floats following, Floats blends) {
        const auto steps = static_cast<int64_t>(moves.shape(0)), frames = static_cast<int64_t>(blends.shape(0));
        const auto bases = static_cast<int64_t>(residual.shape(0)), count = static_cast<int64_t>(residual.shape(2));
        nb::gil_scoped_release release;
        AK_CALL(settle, residual.data(), coefficients.data(), moves.data(), steps, following.data(), blends.data(),
                frames, bases, count);
    });
}
