#include "common/arrays.h"
#include "march/march.h"

namespace avatarkit {
namespace {

MarchInput march_input(const Floats& origins, const Floats& directions, const Bytes& bitfield, int64_t cells,
                       double step, int64_t max_samples, int64_t seed) {
    return {origins.data(),  directions.data(), static_cast<int64_t>(origins.shape(0)),
            bitfield.data(), cells,             static_cast<float>(step),
            max_samples,     seed};
}

}  // namespace
}  // namespace avatarkit

void bind_march(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("march_count", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, double step,
                            int64_t max_samples, int64_t seed, Longs ray_offsets) {
        const MarchInput in = march_input(origins, directions, bitfield, cells, step, max_samples, seed);
        {
            nb::gil_scoped_release release;
            AK_CALL(march_count, in, ray_offsets.data());
        }
        return ray_offsets.data()[in.rays];
    });
    m.def("march_fill", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, double step,
                           int64_t max_samples, int64_t seed, Longs ray_offsets, Floats points, Floats t) {
        const MarchInput in = march_input(origins, directions, bitfield, cells, step, max_samples, seed);
        nb::gil_scoped_release release;
        AK_CALL(march_fill, in, ray_offsets.data(), points.data(), t.data());
    });
}
