// The Python module avatarkit.ops._native: one bind_<operation> per folder.
#include <nanobind/nanobind.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "common/isa_cpu.h"

namespace nb = nanobind;

void bind_raster(nb::module_& m);  // csrc/raster/raster_bindings.cpp

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
    bind_raster(m);
}
