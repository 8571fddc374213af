// The Python module avatarkit.ops._native: one bind_<operation> per folder.
#include <nanobind/nanobind.h>

#include <limits>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "common/arrays.h"
#include "common/isa_cpu.h"

namespace nb = nanobind;

void bind_anchors(nb::module_& m);
void bind_blaze(nb::module_& m);
void bind_composite(nb::module_& m);
void bind_hash_encoding(nb::module_& m);
void bind_layers(nb::module_& m);
void bind_march(nb::module_& m);
void bind_mlp(nb::module_& m);
void bind_normals(nb::module_& m);
void bind_occupancy(nb::module_& m);
void bind_patches(nb::module_& m);
void bind_raster(nb::module_& m);
void bind_render(nb::module_& m);
void bind_resemblance(nb::module_& m);
void bind_sines(nb::module_& m);
void bind_sparse(nb::module_& m);
void bind_splat(nb::module_& m);
void bind_tables(nb::module_& m);
void bind_warp(nb::module_& m);
void bind_yuv(nb::module_& m);

NB_MODULE(_native, m) {
    // What a program still holds at its end (an image with its graph) is no leak of ours to report.
    nb::set_leak_warnings(false);
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
    m.def("advise_huge_pages", [](avatarkit::Bytes array) {
#ifdef MADV_HUGEPAGE
        const auto page = static_cast<uintptr_t>(2) << 20, begin = reinterpret_cast<uintptr_t>(array.data());
        const uintptr_t first = (begin + page - 1) / page * page, last = (begin + array.nbytes()) / page * page;
        if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
        (void)array;
#endif
    }, nb::arg("array"), "Ask for large pages under an array that was not written to yet.");
    bind_anchors(m);
    bind_blaze(m);
    bind_composite(m);
    bind_hash_encoding(m);
    bind_layers(m);
    bind_march(m);
    bind_mlp(m);
    bind_normals(m);
    bind_occupancy(m);
    bind_patches(m);
    bind_raster(m);
    bind_render(m);
    bind_resemblance(m);
    bind_sines(m);
    bind_sparse(m);
    bind_splat(m);
    bind_tables(m);
    bind_warp(m);
    bind_yuv(m);
}
