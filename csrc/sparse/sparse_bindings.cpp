#include "common/arrays.h"
#include "sparse/sparse.h"

namespace {

avatarkit::SparseRules rules_of(const avatarkit::Ints& source, const avatarkit::Ints& target,
                                const avatarkit::Longs& begin) {
    return {source.data(), target.data(), begin.data(), static_cast<int>(begin.shape(0)) - 1};
}

}  // namespace

void bind_sparse(nanobind::module_& m) {
    using namespace avatarkit;
    m.def("sparse_rules", [](Ints table, Ints centers, Ints source, Ints target, Longs begin) {
        const auto height = static_cast<int64_t>(table.shape(1)), width = static_cast<int64_t>(table.shape(2));
        const auto outputs = static_cast<int64_t>(centers.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(sparse_rules, table.data(), height, width, centers.data(), outputs, source.data(), target.data(),
                begin.data());
    });
    m.def("sparse_reverse", [](Ints source, Ints target, Longs begin, int64_t inputs, Ints to_source, Ints to_target) {
        const SparseRules rules = rules_of(source, target, begin);
        nb::gil_scoped_release release;
        AK_CALL(sparse_reverse, rules, inputs, to_source.data(), to_target.data());
    });
    m.def("sparse_conv", [](Ints source, Ints target, Longs begin, Floats in, Floats weights, Floats out) {
        const SparseRules rules = rules_of(source, target, begin);
        const auto from = static_cast<int64_t>(in.shape(1)), to = static_cast<int64_t>(out.shape(1));
        const auto outputs = static_cast<int64_t>(out.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(sparse_conv, rules, in.data(), from, weights.data(), to, outputs, out.data());
    });
    m.def("sparse_conv_inputs", [](Ints source, Ints target, Longs begin, Floats gradient, Floats weights, bool mirrored,
                                   Floats out) {
        const SparseRules rules = rules_of(source, target, begin);
        const auto to = static_cast<int64_t>(gradient.shape(1)), from = static_cast<int64_t>(out.shape(1));
        const auto inputs = static_cast<int64_t>(out.shape(0));
        nb::gil_scoped_release release;
        AK_CALL(sparse_conv_inputs, rules, gradient.data(), to, weights.data(), mirrored, from, inputs, out.data());
    });
    m.def("sparse_conv_weights", [](Ints source, Ints target, Longs begin, Floats in, Floats gradient, Floats weights) {
        const SparseRules rules = rules_of(source, target, begin);
        const auto from = static_cast<int64_t>(in.shape(1)), to = static_cast<int64_t>(gradient.shape(1));
        nb::gil_scoped_release release;
        AK_CALL(sparse_conv_weights, rules, in.data(), from, gradient.data(), to, weights.data());
    });
}
