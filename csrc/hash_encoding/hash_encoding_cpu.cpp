#include "hash_encoding/hash_encoding.h"

#include <algorithm>

#include "common/threads.h"
#include "hash_encoding/encode_block.h"

namespace avatarkit::AK_ISA {
namespace {

// Samples of one level and image that a thread takes at a time: enough for the level's 256 KiB to pay their way
// into the second-level cache, few enough to share one image between threads.
constexpr int64_t kChunk = 8192;

void encode_range(const EncodeInput& in, const GridLevel& level, uint32_t mask, const float* table, int64_t begin,
                  int64_t end, float* features) {
    Corners corners;
    Vec position[3];
    for (int64_t s = begin; s < end; s += kLanes) {
        const int count = static_cast<int>(std::min<int64_t>(kLanes, end - s));
        load_points(in.points + s * 3, count, position);
        find_corners(position, level, mask, corners);
        for (int i = 0; i < count; ++i) store(features + (s + i) * kFeatures, interpolate(table, corners, i));
    }
}

void scatter_range(const EncodeInput& in, const GridLevel& level, uint32_t mask, const float* gradient, int64_t begin,
                   int64_t end, float* table) {
    Corners corners;
    Vec position[3];
    for (int64_t s = begin; s < end; s += kLanes) {
        const int count = static_cast<int>(std::min<int64_t>(kLanes, end - s));
        load_points(in.points + s * 3, count, position);
        find_corners(position, level, mask, corners);
        for (int i = 0; i < count; ++i) {
            const Vec4 value = load<Vec4>(gradient + (s + i) * kFeatures);
#pragma GCC unroll 8
            for (int corner = 0; corner < 8; ++corner) {
                float* entry = table + corners.offset[corner][i];
                store(entry, load<Vec4>(entry) + splat4(corners.weight[corner][i]) * value);
            }
        }
    }
}

// Adds to grad_points what one level contributes: the slope of its trilinear weights times the features' gradients.
void slope_range(const EncodeInput& in, const GridLevel& level, uint32_t mask, const float* table,
                 const float* gradient, int64_t begin, int64_t end, float* grad_points) {
    Corners corners;
    Vec position[3];
    const float cells = static_cast<float>(level.cells);
    for (int64_t s = begin; s < end; s += kLanes) {
        const int count = static_cast<int>(std::min<int64_t>(kLanes, end - s));
        load_points(in.points + s * 3, count, position);
        find_corners(position, level, mask, corners);
        alignas(64) float share[3][kLanes], dot[8][kLanes];
        for (int axis = 0; axis < 3; ++axis) {
            const Vec scaled = position[axis] * splat(cells);
            const Vec cell = smaller(__builtin_convertvector(__builtin_convertvector(scaled, VecInt), Vec),
                                     splat(cells - 1.f));
            store(share[axis], scaled - cell);
        }
        for (int i = 0; i < count; ++i) {
            const Vec4 value = load<Vec4>(gradient + (s + i) * kFeatures);
#pragma GCC unroll 8
            for (int corner = 0; corner < 8; ++corner) {
                const Vec4 product = value * load<Vec4>(table + corners.offset[corner][i]);
                dot[corner][i] = product[0] + product[1] + product[2] + product[3];
            }
        }
        for (int i = 0; i < count; ++i) {
            const float x = share[0][i], y = share[1][i], z = share[2][i];
            float d[8];
            for (int corner = 0; corner < 8; ++corner) d[corner] = dot[corner][i];
            const float gx = (1 - z) * ((1 - y) * (d[1] - d[0]) + y * (d[3] - d[2])) +
                             z * ((1 - y) * (d[5] - d[4]) + y * (d[7] - d[6]));
            const float gy = (1 - z) * ((1 - x) * (d[2] - d[0]) + x * (d[3] - d[1])) +
                             z * ((1 - x) * (d[6] - d[4]) + x * (d[7] - d[5]));
            const float gz = (1 - y) * ((1 - x) * (d[4] - d[0]) + x * (d[5] - d[1])) +
                             y * ((1 - x) * (d[6] - d[2]) + x * (d[7] - d[3]));
            const float slope[3] = {gx, gy, gz};
            for (int axis = 0; axis < 3; ++axis) {
                const float p = in.points[(s + i) * 3 + axis];
                if (p >= 0.f && p <= 1.f) grad_points[(s + i) * 3 + axis] += cells * slope[axis];
            }
        }
    }
}

}  // namespace

void hash_encode(const EncodeInput& in, const GridShape& grid, const float* tables, float* features) {
    const int64_t pieces = (in.samples + kChunk - 1) / kChunk + in.images;  // at most, over all images
    Scratch<int64_t> piece(pieces * 3);
    int64_t count = 0;
    for (int64_t image = 0; image < in.images; ++image)
        for (int64_t s = in.image_offsets[image]; s < in.image_offsets[image + 1]; s += kChunk, ++count) {
            piece[count * 3] = image;
            piece[count * 3 + 1] = s;
            piece[count * 3 + 2] = std::min(s + kChunk, in.image_offsets[image + 1]);
        }
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t item = 0; item < count * grid.levels; ++item) {
        const int64_t *p = piece + item / grid.levels * 3, l = item % grid.levels;
        const GridLevel& level = grid.level[l];
        const float* table = tables + p[0] * grid.table + static_cast<int64_t>(level.first) * kFeatures;
        encode_range(in, level, grid.hash_mask, table, p[1], p[2], features + l * in.samples * kFeatures);
    }
}

void hash_encode_backward(const EncodeInput& in, const GridShape& grid, const float* grad_features,
                          float* grad_tables) {
    const int threads = thread_count();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t item = 0; item < in.images * grid.levels; ++item) {
        // Fine levels first: they miss the cache most, and a long last piece would leave the other threads waiting.
        const int64_t image = item % in.images, l = grid.levels - 1 - item / in.images;
        const GridLevel& level = grid.level[l];
        float* image_table = grad_tables + image * grid.table;
        float* table = image_table + static_cast<int64_t>(level.first) * kFeatures;
        float* end = l + 1 < grid.levels ? image_table + static_cast<int64_t>(grid.level[l + 1].first) * kFeatures
                                         : image_table + grid.table;
        std::fill(table, end, 0.f);
        scatter_range(in, level, grid.hash_mask, grad_features + l * in.samples * kFeatures, in.image_offsets[image],
                      in.image_offsets[image + 1], table);
    }
}

void hash_encode_slopes(const EncodeInput& in, const GridShape& grid, const float* tables, const float* grad_features,
                        float* grad_points) {
    constexpr int64_t block = 1024;
    std::fill(grad_points, grad_points + in.samples * 3, 0.f);
    const int threads = thread_count();
    for (int64_t image = 0; image < in.images; ++image) {
        const int64_t first = in.image_offsets[image], last = in.image_offsets[image + 1];
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int64_t begin = first; begin < last; begin += block)
            for (int64_t l = 0; l < grid.levels; ++l) {
                const float* table = tables + image * grid.table + static_cast<int64_t>(grid.level[l].first) * kFeatures;
                slope_range(in, grid.level[l], grid.hash_mask, table, grad_features + l * in.samples * kFeatures, begin,
                            std::min(begin + block, last), grad_points);
            }
    }
}

}  // namespace avatarkit::AK_ISA
