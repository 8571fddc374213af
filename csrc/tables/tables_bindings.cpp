#include <cmath>

#include "common/arrays.h"
#include "tables/tables.h"

void bind_tables(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("blend", [](Floats base, Floats bases, Floats coefficients, int64_t basis_stride, int64_t block_stride,
                      int64_t prefix, Floats out) {
        const Bases shape{static_cast<int64_t>(coefficients.shape(1)), prefix, basis_stride, block_stride};
        const auto images = static_cast<int64_t>(coefficients.shape(0)), table = static_cast<int64_t>(base.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(blend, base.data(), table, bases.data(), shape, coefficients.data(), images, out.data());
    });
    m.def("adam_blend", [](Floats base, Floats base_moments, Floats bases, Shorts bases_moments, int64_t prefix,
                           Floats gradients, Floats coefficients, Floats next_coefficients, Floats out, double lr,
                           double lr_bases, double beta1, double beta2, double eps, double l2, int64_t step) {
        const Bases shape{static_cast<int64_t>(bases.shape(1)), prefix, kBlock,
                          static_cast<int64_t>(bases.shape(1)) * kBlock};
        const AdamStep adam{static_cast<float>(lr), static_cast<float>(lr_bases), static_cast<float>(beta1),
                            static_cast<float>(beta2), static_cast<float>(eps), static_cast<float>(l2),
                            static_cast<float>(1.0 - std::pow(beta1, static_cast<double>(step))),
                            static_cast<float>(1.0 - std::pow(beta2, static_cast<double>(step)))};
        const auto images = static_cast<int64_t>(coefficients.shape(0));
        const auto next_images = static_cast<int64_t>(next_coefficients.shape(0));
        const auto table = static_cast<int64_t>(base.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(adam_blend, base.data(), base_moments.data(), table, bases.data(),
                reinterpret_cast<uint16_t*>(bases_moments.data()), shape, adam, gradients.data(), coefficients.data(), images, next_coefficients.data(), next_images, out.data());
    });
}
