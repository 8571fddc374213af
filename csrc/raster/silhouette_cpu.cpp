#include <algorithm>
#include <cmath>

#include "common/threads.h"
#include "raster/raster.h"

namespace avatarkit::AK_ISA {
namespace {

float side(const float* a, const float* b, const float* p) {
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]);
}

// A place where the outline passes between two neighboring pixel centers.
struct Crossing {
    int64_t key;     // 2 * flat index of the upper left pixel, plus 1 where the other lies below
    float distance;  // from the nearer surface's pixel center
    SilhouettePair pair;

    bool operator<(const Crossing& other) const {
        if (key != other.key) return key < other.key;
        if (distance != other.distance) return distance > other.distance;
        return pair.first != other.pair.first ? pair.first < other.pair.first : pair.second < other.pair.second;
    }
};

struct Image {
    const float* points;
    const int32_t* face;
    const float* depth;
    int64_t height, width, first;  // `first`: flat index of the image's first pixel
};

// Does an outline answer to horizontal neighbors (0) or to vertical ones (1)? Each is blended once. An outline runs
// across the slope of the depth; single edges of a fine mesh zigzag along it. At a border the edge itself is all.
int axis_of(const float* a, const float* b, const float* own, bool border) {
    if (border) return std::fabs(b[1] - a[1]) >= std::fabs(b[0] - a[0]) ? 0 : 1;
    const float u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]}, v[3] = {own[0] - a[0], own[1] - a[1], own[2] - a[2]};
    return std::fabs(u[1] * v[2] - u[2] * v[1]) >= std::fabs(u[2] * v[0] - u[0] * v[2]) ? 0 : 1;
}

void edge_crossings(const Image& image, int64_t first, int64_t second, const float* own, bool border,
                    std::vector<Crossing>& found) {
    const float *a = image.points + 3 * first, *b = image.points + 3 * second;
    const int along = axis_of(a, b, own, border), across = 1 - along;
    const int64_t lines = along == 0 ? image.height : image.width, columns = along == 0 ? image.width : image.height;
    const float low = std::min(a[across], b[across]), high = std::max(a[across], b[across]);
    if (!(high > low) || low >= static_cast<float>(lines)) return;
    const int64_t begin = static_cast<int64_t>(std::ceil(std::max(low - 0.5f, 0.f)));
    const bool turned = side(a, b, own) > 0;
    for (int64_t line = begin; line < lines; ++line) {
        const float center = static_cast<float>(line) + 0.5f;
        if (center >= high) break;
        if (center < low) continue;
        const float share = (center - a[across]) / (b[across] - a[across]);
        const float at = a[along] + share * (b[along] - a[along]);
        const float cell = std::floor(at - 0.5f);
        if (!(cell >= 0.f && cell < static_cast<float>(columns - 1))) continue;
        const int64_t column = static_cast<int64_t>(cell);
        const int64_t p = along == 0 ? line * image.width + column : column * image.width + line;
        const int64_t q = p + (along == 0 ? 1 : image.width);
        const bool is_near = image.face[q] < 0 || (image.face[p] >= 0 && image.depth[p] <= image.depth[q]);
        const int64_t near = is_near ? p : q, far = is_near ? q : p;
        if (image.face[near] < 0 || image.face[p] == image.face[q]) continue;
        const float z = a[2] > 0 && b[2] > 0 ? 1.f / ((1.f - share) / a[2] + share / b[2])
                                             : a[2] + share * (b[2] - a[2]);
        if (image.face[far] >= 0 && !(z < image.depth[far])) continue;
        float middle[2];
        middle[along] = static_cast<float>(is_near ? column : column + 1) + 0.5f;
        middle[across] = center;
        if ((side(a, b, middle) > 0) != turned) continue;
        found.push_back({2 * (image.first + p) + along, std::fabs(at - middle[along]),
                         {image.first + near, image.first + far, first, second}});
    }
}

}  // namespace

void silhouette_pairs(const float* vertices, const int32_t* triangles, const int32_t* opposite,
                      const RasterShape& shape, const int32_t* face, const float* depth,
                      std::vector<SilhouettePair>& pairs) {
    constexpr int64_t chunk = 1024;
    const int64_t chunks = (shape.faces + chunk - 1) / chunk, pixels = shape.height * shape.width;
    const int threads = thread_count();
    for (int64_t i = 0; i < shape.images; ++i) {
        const Image image{vertices + i * shape.vertices * 3, face + i * pixels, depth + i * pixels,
                          shape.height, shape.width, i * pixels};
        std::vector<std::vector<Crossing>> found(chunks);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int64_t c = 0; c < chunks; ++c)
            for (int64_t f = c * chunk; f < std::min((c + 1) * chunk, shape.faces); ++f) {
                const int32_t* t = triangles + 3 * f;
                for (int k = 0; k < 3; ++k) {
                    const int32_t first = t[(k + 1) % 3], second = t[(k + 2) % 3], o = opposite[3 * f + k];
                    if (o >= 0 && o < t[k]) continue;  // the triangle across the edge answers for both
                    const float *a = image.points + 3 * int64_t{first}, *b = image.points + 3 * int64_t{second};
                    const float* own = image.points + 3 * int64_t{t[k]};
                    if (o >= 0 && (side(a, b, own) > 0) != (side(a, b, image.points + 3 * int64_t{o}) > 0)) continue;
                    edge_crossings(image, first, second, own, o < 0, found[c]);
                }
            }
        std::vector<Crossing> all;
        for (const auto& list : found) all.insert(all.end(), list.begin(), list.end());
        std::sort(all.begin(), all.end());
        // Of several edges between two pixels the outermost is the outline.
        int64_t last = -1;
        for (const Crossing& crossing : all)
            if (crossing.key != last) {
                pairs.push_back(crossing.pair);
                last = crossing.key;
            }
    }
}

}  // namespace avatarkit::AK_ISA
