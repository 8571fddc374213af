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

}  // namespace avatarkit::AK_ISA
