#include "common/arrays.h"
#include "march/march.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace avatarkit {

MarchedLengths::~MarchedLengths() {
    for (float* list : list_) std::free(list);
}

float* MarchedLengths::reserve(int part, int64_t used, int64_t more) {
    if (used + more > capacity_[part]) {
        const int64_t capacity = std::max(used + more, 2 * capacity_[part]);
        void* list = std::realloc(list_[part], static_cast<size_t>(capacity) * sizeof(float));
        if (list == nullptr) throw std::bad_alloc();
        list_[part] = static_cast<float*>(list);
        capacity_[part] = capacity;
    }
    return list_[part];
}

MarchInput march_input(const Floats& origins, const Floats& directions, const Bytes& bitfield, int64_t cells,
                       double step, int64_t max_samples, int64_t seed) {
    return {origins.data(),  directions.data(), static_cast<int64_t>(origins.shape(0)),
            bitfield.data(), cells,             static_cast<float>(step),
            max_samples,     seed};
}

}  // namespace avatarkit

void bind_march(nanobind::module_& m) {
    using namespace avatarkit;
    nb::class_<MarchedLengths>(m, "MarchedLengths").def(nb::init<>());
    m.def("march_count", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, double step,
                            int64_t max_samples, int64_t seed, Longs ray_offsets, MarchedLengths& lengths) {
        const MarchInput in = march_input(origins, directions, bitfield, cells, step, max_samples, seed);
        {
            nb::gil_scoped_release release;
            AK_CALL(march_count, in, ray_offsets.data(), lengths);
        }
        return ray_offsets.data()[in.rays];
    });
    m.def("march_fill", [](Floats origins, Floats directions, Bytes bitfield, int64_t cells, double step,
                           int64_t max_samples, int64_t seed, Longs ray_offsets, const MarchedLengths& lengths, Floats points,
                           Floats t) {
        const MarchInput in = march_input(origins, directions, bitfield, cells, step, max_samples, seed);
        nb::gil_scoped_release release;
        AK_CALL(march_fill, in, ray_offsets.data(), lengths, points.data(), t.data());
    });
}
