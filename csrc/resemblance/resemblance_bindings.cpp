#include "common/arrays.h"
#include "resemblance/resemblance.h"

void bind_resemblance(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("resemblance", [](Floats splats, Floats behind, Floats truth, Floats matte, Floats share, double structure,
                            double matte_weight, Floats gradient) {
        const PictureShape shape{static_cast<int64_t>(splats.shape(0)), static_cast<int64_t>(splats.shape(1))};
        const ResemblanceWeights weights{static_cast<float>(structure), static_cast<float>(matte_weight)};
        nb::gil_scoped_release release;
        return AK_CALL(resemblance, splats.data(), behind.data(), truth.data(), matte.data(), share.data(), shape,
                       weights, gradient.data());
    });
}
