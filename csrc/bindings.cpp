// The Python module avatarkit.ops._native: one bind_<operation> per folder.
#include <nanobind/nanobind.h>

#include <limits>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "common/isa_cpu.h"

namespace nb = nanobind;

void bind_composite(nb::module_& m);
void bind_hash_encoding(nb::module_& m);
void bind_march(nb::module_& m);
void bind_mlp(nb::module_& m);
void bind_raster(nb::module_& m);
void bind_render(nb::module_& m);
void bind_tables(nb::module_& m);

NB_MODULE(_native, m) {
    m.def("isa", [] { return AK_CALL(isa_name); },
          "Name of the instruction set the kernels run with.");
    m.def("set_threads", [](int n) {
#ifdef _OPENMP
        omp_set_num_threads(n);
#else
        (void)n;
#endif
    }, nb::arg("threads"), "Number of OpenMP threads of every kernel.");
    m.def("retain_memory", [] {
#ifdef __GLIBC__
        mallopt(M_MMAP_MAX, 0);
        mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
#endif
    }, "Keep freed memory in the process, see avatarkit/ops/native.py.");
    bind_composite(m);
    bind_hash_encoding(m);
    bind_march(m);
    bind_mlp(m);
    bind_raster(m);
    bind_render(m);
    bind_tables(m);
}
