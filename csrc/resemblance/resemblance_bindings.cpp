#include "common/arrays.h"
#include "resemblance/resemblance.h"

namespace {

using namespace avatarkit;
using Anything = nb::ndarray<nb::c_contig, nb::device::cpu>;

Samples samples_of(const Anything& array) {
    if (array.dtype() == nb::dtype<float>()) return {static_cast<const float*>(array.data()), nullptr};
    if (array.dtype() == nb::dtype<uint8_t>()) return {nullptr, static_cast<const uint8_t*>(array.data())};
    throw nb::type_error("pictures must be float32 or uint8");
}

}  // namespace

void bind_resemblance(nanobind::module_& m) {
    m.def("resemblance", [](Floats splats, Floats behind, Anything truth, Anything matte, Floats share,
                            double structure, double matte_weight, Floats gradient) {
        const ResemblancePictures pictures{static_cast<int64_t>(splats.shape(0)),
                                           static_cast<int64_t>(splats.shape(1)),
                                           splats.data(), behind.data(), samples_of(truth), samples_of(matte),
                                           share.data()};
        const ResemblanceWeights weights{static_cast<float>(structure), static_cast<float>(matte_weight)};
        nb::gil_scoped_release release;
        return AK_CALL(resemblance, pictures, weights, gradient.data());
    });
}
