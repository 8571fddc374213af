#include <algorithm>
#include <cfloat>
#include <cmath>

#include "raster/raster.h"
#include "raster/edge.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int kLanes = 8;
constexpr int kStripRows = 16;  // a strip's buffers stay in the second-level cache up to 2048 pixels of width
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

Floats load(const float* p) {
    Floats v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }
Ints load(const int32_t* p) {
    Ints v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
void store(int32_t* p, Ints v) { __builtin_memcpy(p, &v, sizeof v); }

struct Bounds {
    int32_t y0, y1;  // rows [y0, y1) that a triangle may touch; empty when it is dropped
};

struct Strip {
    int64_t pitch;
    std::vector<float> key, p1, p2;
    std::vector<int32_t> face;

    explicit Strip(int64_t width)
        : pitch((width + 2 * kLanes - 1) / kLanes * kLanes),
          key(pitch * kStripRows), p1(pitch * kStripRows), p2(pitch * kStripRows), face(pitch * kStripRows) {}
};

int32_t clamp_row(float value, int64_t limit) {
    return static_cast<int32_t>(std::min(std::max(value, 0.f), static_cast<float>(limit)));
}

Bounds bounds(const float* a, const float* b, const float* c, const RasterShape& shape, bool perspective) {
    const float area = signed_area(a, b, c);
    // The comparisons are written so that not-a-number drops the triangle.
    if (!(std::fabs(area) > 1e-12f && std::fabs(area) < FLT_MAX)) return {0, 0};
    if (perspective && !(a[2] > 0 && b[2] > 0 && c[2] > 0)) return {0, 0};
    if (!std::isfinite(a[2] + b[2] + c[2])) return {0, 0};
    const float left = std::min({a[0], b[0], c[0]}), right = std::max({a[0], b[0], c[0]});
    if (!(right >= 0.5f && left <= static_cast<float>(shape.width) - 0.5f)) return {0, 0};
    const float top = std::min({a[1], b[1], c[1]}), bottom = std::max({a[1], b[1], c[1]});
    return {clamp_row(std::ceil(top - 0.5f), shape.height), clamp_row(std::floor(bottom - 0.5f) + 1, shape.height)};
}

void draw(const float* vertices, const int32_t* triangle, int32_t index, int64_t row0, int64_t row1,
          const RasterShape& shape, bool perspective, Strip& strip) {
    const float* v[3];
    for (int i = 0; i < 3; ++i) v[i] = vertices + 3 * static_cast<int64_t>(triangle[i]);
    const float area = signed_area(v[0], v[1], v[2]);
    const float orientation = area > 0 ? 1.f : -1.f;
    const float inverse_area = 1.f / std::fabs(area);
    Edge edge[3];
    float weight[3];  // what a unit of edge value contributes to the sort key: 1/z, or -z without perspective
    for (int i = 0; i < 3; ++i) {
        const int a = (i + 1) % 3, b = (i + 2) % 3;
        edge[i] = Edge(v[a], v[b], triangle[a] < triangle[b], orientation);
        weight[i] = (perspective ? 1.f / v[i][2] : -v[i][2]) * inverse_area;
    }
    const float scale1 = perspective ? weight[1] : inverse_area, scale2 = perspective ? weight[2] : inverse_area;
    const float left = std::min({v[0][0], v[1][0], v[2][0]}), right = std::max({v[0][0], v[1][0], v[2][0]});
    const float limit = static_cast<float>(shape.width);
    const int64_t box0 = static_cast<int64_t>(std::max(std::ceil(left - 0.5f), 0.f));
    const int64_t box1 = static_cast<int64_t>(std::min(std::floor(right - 0.5f) + 1, limit));
    // Rows of more than one vector are narrowed to where they cross the triangle, with one pixel of slack.
    const bool wide = box1 - box0 > kLanes;
    float slope[3] = {};
    if (wide)
        for (int i = 0; i < 3; ++i) slope[i] = edge[i].dy == 0 ? 0 : edge[i].dx / edge[i].dy;
    const Floats iota = {0, 1, 2, 3, 4, 5, 6, 7};
    const Ints id = Ints{} + index;

    for (int64_t row = row0; row < row1; ++row) {
        const float py = static_cast<float>(row) + 0.5f;
        int64_t x0 = box0, x1 = box1;
        if (wide) {
            float from = static_cast<float>(box0), to = static_cast<float>(box1);
            for (int i = 0; i < 3; ++i) {
                const float cross = edge[i].x + (py - edge[i].y) * slope[i] - 0.5f;
                if (edge[i].dy > 0) to = std::min(to, cross + 2);
                if (edge[i].dy < 0) from = std::max(from, cross - 1);
            }
            if (!(from < to)) continue;
            x0 = static_cast<int64_t>(from);
            x1 = static_cast<int64_t>(to);
        }
        const int64_t base = (row % kStripRows) * strip.pitch;
        Floats step[3], start[3];
        for (int i = 0; i < 3; ++i) {
            step[i] = Floats{} - edge[i].dy;
            start[i] = Floats{} + edge[i].dx * (py - edge[i].y);
        }
        for (int64_t x = x0; x < x1; x += kLanes) {
            const Floats px = iota + (static_cast<float>(x) + 0.5f);
            Floats w[3];
            for (int i = 0; i < 3; ++i) w[i] = start[i] + step[i] * (px - edge[i].x);
            const Floats key = w[0] * weight[0] + w[1] * weight[1] + w[2] * weight[2];
            float* keys = strip.key.data() + base + x;
            const Floats old = load(keys);
            const Ints hit = (w[0] >= edge[0].threshold) & (w[1] >= edge[1].threshold) &
                             (w[2] >= edge[2].threshold) & (key > old) & (px < limit);
            float* p1 = strip.p1.data() + base + x;
            float* p2 = strip.p2.data() + base + x;
            int32_t* face = strip.face.data() + base + x;
            store(keys, hit ? key : old);
            store(p1, hit ? w[1] * scale1 : load(p1));
            store(p2, hit ? w[2] * scale2 : load(p2));
            store(face, hit ? id : load(face));
        }
    }
}

void resolve(const Strip& strip, int64_t rows, int64_t width, bool perspective, int32_t* face, float* barycentric,
             float* depth) {
    for (int64_t row = 0; row < rows; ++row) {
        const float* key = strip.key.data() + row * strip.pitch;
        const float* p1 = strip.p1.data() + row * strip.pitch;
        const float* p2 = strip.p2.data() + row * strip.pitch;
        const int32_t* id = strip.face.data() + row * strip.pitch;
        for (int64_t x = 0; x < width; ++x) {
            const bool hit = id[x] >= 0;
            const float scale = !hit ? 0.f : perspective ? 1.f / key[x] : 1.f;
            const float b1 = hit ? p1[x] * scale : 0.f, b2 = hit ? p2[x] * scale : 0.f;
            const int64_t pixel = row * width + x;
            face[pixel] = id[x];
            depth[pixel] = !hit ? 0.f : perspective ? scale : -key[x];
            barycentric[3 * pixel] = hit ? 1.f - b1 - b2 : 0.f;
            barycentric[3 * pixel + 1] = b1;
            barycentric[3 * pixel + 2] = b2;
        }
    }
}

}  // namespace

void rasterize_forward(const float* vertices, const int32_t* triangles, const RasterShape& shape, bool perspective,
                       int32_t* face, float* barycentric, float* depth) {
    const int64_t strips = (shape.height + kStripRows - 1) / kStripRows;
    if (shape.width == 0) return;
    std::vector<Bounds> rows(shape.faces);
    std::vector<int64_t> offset(strips + 1);
    std::vector<int32_t> bins;
    for (int64_t image = 0; image < shape.images; ++image) {
        const float* points = vertices + image * shape.vertices * 3;
#pragma omp parallel for schedule(static)
        for (int64_t f = 0; f < shape.faces; ++f) {
            const int32_t* t = triangles + 3 * f;
            rows[f] = bounds(points + 3 * static_cast<int64_t>(t[0]), points + 3 * static_cast<int64_t>(t[1]),
                             points + 3 * static_cast<int64_t>(t[2]), shape, perspective);
        }
        // Counting sort of the triangles into strips; within a strip they keep their order.
        std::fill(offset.begin(), offset.end(), 0);
        for (const Bounds& r : rows)
            if (r.y1 > r.y0)
                for (int64_t s = r.y0 / kStripRows; s <= (r.y1 - 1) / kStripRows; ++s) ++offset[s + 1];
        for (int64_t s = 0; s < strips; ++s) offset[s + 1] += offset[s];
        bins.resize(offset[strips]);
        std::vector<int64_t> next(offset.begin(), offset.end() - 1);
        for (int64_t f = 0; f < shape.faces; ++f)
            if (rows[f].y1 > rows[f].y0)
                for (int64_t s = rows[f].y0 / kStripRows; s <= (rows[f].y1 - 1) / kStripRows; ++s)
                    bins[next[s]++] = static_cast<int32_t>(f);

#pragma omp parallel
        {
            Strip strip(shape.width);
#pragma omp for schedule(dynamic)
            for (int64_t s = 0; s < strips; ++s) {
                const int64_t first = s * kStripRows, last = std::min<int64_t>(first + kStripRows, shape.height);
                std::fill(strip.key.begin(), strip.key.end(), -FLT_MAX);
                std::fill(strip.face.begin(), strip.face.end(), -1);
                for (int64_t i = offset[s]; i < offset[s + 1]; ++i) {
                    const int32_t f = bins[i];
                    draw(points, triangles + 3 * static_cast<int64_t>(f), f, std::max<int64_t>(rows[f].y0, first),
                         std::min<int64_t>(rows[f].y1, last), shape, perspective, strip);
                }
                const int64_t pixel = (image * shape.height + first) * shape.width;
                resolve(strip, last - first, shape.width, perspective, face + pixel, barycentric + 3 * pixel,
                        depth + pixel);
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
