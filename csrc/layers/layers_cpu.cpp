#include <algorithm>
#include <cfloat>
#include <cmath>

#include "common/simd.h"
#include "layers/layers.h"
#include "common/pixels.h"
#include "raster/edge.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int64_t kStripRows = 16;
constexpr int64_t kRows = kStripRows + 2;  // with one row above and below, so that neighbors are at hand
constexpr float kFar = -FLT_MAX;
constexpr float kOpaque = 1.f / 1024;  // share of what lies beneath from which it is not seen

struct Reach {
    int32_t y0, y1;  // rows [y0, y1) of the frame that a triangle may touch; empty when it is dropped
};

// One strip's buffers, each of kRows rows. A row begins kLanes columns before the frame's, so that neighbors and whole
// vectors can be read and written anywhere.
struct Strip {
    int64_t pitch;
    Scratch<float> key, u, v, cover;  // key: the nearness, kFar where nothing lies
    Scratch<float> red, green, blue, clear;  // what is seen so far from above, and how much of what lies beneath
    int64_t blocks;
    Scratch<uint8_t> closed;  // [blocks] columns of kLanes in which nothing beneath shows, nor beside them

    explicit Strip(int64_t width)
        : pitch((width + kLanes - 1) / kLanes * kLanes + 3 * kLanes),
          key(pitch * kRows), u(pitch * kRows), v(pitch * kRows), cover(pitch * kRows),
          red(pitch * kRows), green(pitch * kRows), blue(pitch * kRows), clear(pitch * kRows),
          blocks((width + kLanes - 1) / kLanes), closed(blocks) {}
    int64_t at(int64_t row, int64_t x) const { return row * pitch + kLanes + x; }
};

int32_t clamp_row(float value, int64_t limit) {
    return static_cast<int32_t>(std::min(std::max(value, 0.f), static_cast<float>(limit)));
}

Reach reach(const Sheet& sheet, int64_t face, int64_t height, int64_t width) {
    const float* p[3];
    for (int i = 0; i < 3; ++i) p[i] = sheet.vertices + 3 * static_cast<int64_t>(sheet.triangles[3 * face + i]);
    const float area = std::fabs(signed_area(p[0], p[1], p[2]));
    // The comparisons are written so that not-a-number drops the triangle.
    if (!(area > 1e-12f && area < FLT_MAX) || !std::isfinite(p[0][2] + p[1][2] + p[2][2])) return {0, 0};
    const float left = std::min({p[0][0], p[1][0], p[2][0]}), right = std::max({p[0][0], p[1][0], p[2][0]});
    if (!(right >= 0.5f && left <= static_cast<float>(width) - 0.5f)) return {0, 0};
    const float top = std::min({p[0][1], p[1][1], p[2][1]}), bottom = std::max({p[0][1], p[1][1], p[2][1]});
    return {clamp_row(std::ceil(top - 0.5f), height), clamp_row(std::floor(bottom - 0.5f) + 1, height)};
}

// The triangles of a sheet that strips touch, their own rows and the two beside; in a strip they keep their order.
struct Bins {
    std::vector<Reach> reaches;
    std::vector<int64_t> offset;
    std::vector<int32_t> faces;

    Bins(const Sheet& sheet, int64_t height, int64_t width, int64_t strips)
        : reaches(sheet.faces), offset(strips + 1) {
#pragma omp parallel for schedule(static)
        for (int64_t f = 0; f < sheet.faces; ++f) reaches[f] = reach(sheet, f, height, width);
        for (const Reach& r : reaches)
            if (r.y1 > r.y0)
                for (int64_t s = first(r); s <= last(r, strips); ++s) ++offset[s + 1];
        for (int64_t s = 0; s < strips; ++s) offset[s + 1] += offset[s];
        faces.resize(offset[strips]);
        std::vector<int64_t> next(offset.begin(), offset.end() - 1);
        for (int64_t f = 0; f < sheet.faces; ++f)
            if (reaches[f].y1 > reaches[f].y0)
                for (int64_t s = first(reaches[f]); s <= last(reaches[f], strips); ++s)
                    faces[next[s]++] = static_cast<int32_t>(f);
    }

    static int64_t first(const Reach& r) { return std::max<int64_t>(r.y0 - 1, 0) / kStripRows; }
    static int64_t last(const Reach& r, int64_t strips) { return std::min<int64_t>(r.y1 / kStripRows, strips - 1); }
};

// Empty the strip's picture.
void begin(Strip& strip) {
    for (float* plane : {+strip.red, +strip.green, +strip.blue}) std::fill_n(plane, strip.pitch * kRows, 0.f);
    std::fill_n(+strip.clear, strip.pitch * kRows, 1.f);
    std::fill_n(+strip.closed, strip.blocks, uint8_t{0});
}

// Note which blocks of columns are covered wholly; in them, triangles beneath need not be drawn.
void close_blocks(Strip& strip, int64_t rows, int64_t width) {
    for (int64_t block = 0; block < strip.blocks; ++block) {
        const int64_t x = block * kLanes;
        Vec most{};
        for (int64_t row = 1; row <= rows; ++row) {
            const float* clear = strip.clear + strip.at(row, x);
            if (x > 0) most = larger(most, load(clear - 1));
            if (x + kLanes < width) most = larger(most, load(clear + 1));
            most = larger(most, load(clear));
        }
        for (int64_t i = width - x; i < kLanes; ++i) most[i] = 0;
        strip.closed[block] = !any(above(most, splat(kOpaque)));
    }
}

// `top`: the frame's row that the strip's first one shows.
void draw(const Sheet& sheet, int64_t face, int64_t row0, int64_t row1, int64_t top, int64_t width, Strip& strip) {
    const int32_t* corner = sheet.triangles + 3 * face;
    const float* p[3];
    const float* place[3];
    for (int i = 0; i < 3; ++i) {
        p[i] = sheet.vertices + 3 * static_cast<int64_t>(corner[i]);
        place[i] = sheet.places + 2 * static_cast<int64_t>(corner[i]);
    }
    const float area = signed_area(p[0], p[1], p[2]);
    const float orientation = area > 0 ? 1.f : -1.f, inverse = 1.f / std::fabs(area);
    Edge edge[3];
    for (int i = 0; i < 3; ++i) {
        const int a = (i + 1) % 3, b = (i + 2) % 3;
        edge[i] = Edge(p[a], p[b], corner[a] < corner[b], orientation);
    }
    // Nearness and place are those of the first corner and what the other two edges' values add to them.
    const float key1 = (p[0][2] - p[1][2]) * inverse, key2 = (p[0][2] - p[2][2]) * inverse;
    const float u1 = (place[1][0] - place[0][0]) * inverse, u2 = (place[2][0] - place[0][0]) * inverse;
    const float v1 = (place[1][1] - place[0][1]) * inverse, v2 = (place[2][1] - place[0][1]) * inverse;
    const float left = std::min({p[0][0], p[1][0], p[2][0]}), right = std::max({p[0][0], p[1][0], p[2][0]});
    const float limit = static_cast<float>(width);
    const int64_t box0 = static_cast<int64_t>(std::max(std::ceil(left - 0.5f), 0.f));
    const int64_t box1 = static_cast<int64_t>(std::min(std::floor(right - 0.5f) + 1, limit));
    bool hidden = true;
    for (int64_t block = box0 / kLanes; hidden && block * kLanes < box1; ++block) hidden = strip.closed[block];
    if (hidden) return;
    // Rows of more than one vector are narrowed to where they cross the triangle, with one pixel of slack.
    const bool wide = box1 - box0 > kLanes;
    float slope[3] = {};
    if (wide)
        for (int i = 0; i < 3; ++i) slope[i] = edge[i].dy == 0 ? 0 : edge[i].dx / edge[i].dy;
    const Vec steps = counting();

    for (int64_t row = row0; row < row1; ++row) {
        const float y = static_cast<float>(row) + 0.5f;
        int64_t x0 = box0, x1 = box1;
        if (wide) {
            float from = static_cast<float>(box0), to = static_cast<float>(box1);
            for (int i = 0; i < 3; ++i) {
                const float cross = edge[i].x + (y - edge[i].y) * slope[i] - 0.5f;
                if (edge[i].dy > 0) to = std::min(to, cross + 2);
                if (edge[i].dy < 0) from = std::max(from, cross - 1);
            }
            if (!(from < to)) continue;
            x0 = static_cast<int64_t>(from);
            x1 = static_cast<int64_t>(to);
        }
        float start[3];
        for (int i = 0; i < 3; ++i) start[i] = edge[i].dx * (y - edge[i].y);
        for (int64_t x = x0; x < x1; x += kLanes) {
            const Vec px = steps + (static_cast<float>(x) + 0.5f);
            Vec w[3];
            for (int i = 0; i < 3; ++i) w[i] = start[i] - edge[i].dy * (px - edge[i].x);
            const Vec key = -p[0][2] + w[1] * key1 + w[2] * key2;
            const int64_t at = strip.at(row - top, x);
            const Vec old = load(strip.key + at);
            Mask hit = at_least(w[0], splat(edge[0].threshold));
            hit = hit & at_least(w[1], splat(edge[1].threshold)) & at_least(w[2], splat(edge[2].threshold));
            hit = hit & above(key, old) & above(splat(limit), px);
            if (!any(hit)) continue;
            store_where(hit, strip.key + at, key);
            store_where(hit, strip.u + at, place[0][0] + w[1] * u1 + w[2] * u2);
            store_where(hit, strip.v + at, place[0][1] + w[1] * v1 + w[2] * v2);
        }
    }
}

// Share of each pixel that a sheet with a soft outline covers: 2 c - 1 of the share c of its 3 x 3 neighbors that are hit.
void soften_outline(const Strip& strip, int64_t rows, int64_t width, bool has_upper, bool has_lower) {
    Scratch<float> sums(strip.pitch);
    for (int64_t row = 1; row <= rows; ++row) {
        // Beyond the frame its border goes on.
        const int64_t up = row == 1 && !has_upper ? row : row - 1, down = row == rows && !has_lower ? row : row + 1;
        for (int64_t x = 0; x < width; x += kLanes) {
            Vec sum{};
            for (const int64_t r : {up, row, down})
                sum += where(above(load(strip.key + strip.at(r, x)), splat(kFar)), splat(1.f));
            store(sums + kLanes + x, sum);
        }
        sums[kLanes - 1] = sums[kLanes];
        sums[kLanes + width] = sums[kLanes + width - 1];
        for (int64_t x = 0; x < width; x += kLanes) {
            const float* s = sums + kLanes + x;
            const Vec share = (load(s - 1) + load(s) + load(s + 1)) * (2.f / 9.f) - 1.f;
            store(strip.cover + strip.at(row, x), larger(share, Vec{}));
        }
    }
}

// Distance of the place that pixels from `x` on in `line` show, as `Trace` has it, 0 to 255.
void write_still(const Trace& trace, Mask hit, Vec u, Vec v, int64_t line, int64_t x, uint8_t* out, int64_t count) {
    const Vec dx = u - (counting() + (static_cast<float>(x) + 0.5f)), dy = v - (static_cast<float>(line) + 0.5f);
    const Vec square = dx * dx + dy * dy;
    if (any(hit & above(splat(trace.gone * trace.gone), square)))
        store_bytes(out, where(hit, (trace.gone - root(square)) * (255.f / (trace.gone - trace.near))), count);
    else
        std::fill_n(out, count, uint8_t{0});
}

// Lay what a strip shows of a sheet beneath what was seen so far, and write the trace.
void blend(const Sheet& sheet, const Trace* trace, Strip& strip, int64_t first, int64_t rows, int64_t width) {
    const Texture texture(sheet.texture, sheet.rows, sheet.columns);
    for (int64_t row = 1; row <= rows; ++row) {
        const int64_t line = first + row - 1;
        for (int64_t x = 0; x < width; x += kLanes) {
            const int64_t at = strip.at(row, x);
            const Mask hit = above(load(strip.key + at), splat(kFar));
            const int64_t pixel = line * width + x, count = std::min<int64_t>(kLanes, width - x);
            const Vec clear = load(strip.clear + at);
            const bool seen_here = any(hit & above(clear, splat(kOpaque)));
            if (trace == nullptr && !seen_here) continue;
            const Vec u = where(hit, load(strip.u + at)), v = where(hit, load(strip.v + at));
            if (trace != nullptr && trace->still)
                write_still(*trace, hit, u, v, line, x, trace->still + pixel, count);
            const bool wants_alpha = trace != nullptr && trace->alpha;
            if (!seen_here && !wants_alpha) continue;
            const Texture::Taps taps = texture.taps(u, v);
            if (taps.blank()) {  // most of a photo is not the person
                if (wants_alpha) std::fill_n(trace->alpha + pixel, count, uint8_t{0});
                continue;
            }
            const Color seen = taps.mixed();
            if (wants_alpha) store_bytes(trace->alpha + pixel, where(hit, seen.alpha), count);
            Vec share = where(hit, sheet.opacity * clear);
            if (sheet.soft) share *= load(strip.cover + at);
            store(strip.red + at, load(strip.red + at) + share * seen.red);
            store(strip.green + at, load(strip.green + at) + share * seen.green);
            store(strip.blue + at, load(strip.blue + at) + share * seen.blue);
            store(strip.clear + at, clear - share * seen.alpha * (1.f / 255.f));
        }
    }
}

// What a strip shows over the plate, to the frame.
void finish(const uint8_t* plate, const Strip& strip, int64_t first, int64_t rows, int64_t width, uint8_t* out) {
    for (int64_t row = 1; row <= rows; ++row)
        for (int64_t x = 0; x < width; x += kLanes) {
            const int64_t at = strip.at(row, x), pixel = (first + row - 1) * width + x;
            const int64_t count = std::min<int64_t>(kLanes, width - x);
            const Color behind = unpacked(load_pixels(plate + 4 * pixel, count));
            const Vec clear = load(strip.clear + at);
            store_rgb(out + 3 * pixel, load(strip.red + at) + clear * behind.red,
                      load(strip.green + at) + clear * behind.green, load(strip.blue + at) + clear * behind.blue, count);
        }
}

// Pixels whose neighbor to a side, above or below comes from elsewhere in the texture, appended to `found`; some twice.
void find_folds(float fold, const Strip& strip, int64_t first, int64_t rows, int64_t width, bool has_upper, bool has_lower,
                std::vector<int64_t>& found) {
    for (int64_t row = 1; row <= rows; ++row) {
        const float* u = strip.u + strip.at(row, 0);
        const float* v = strip.v + strip.at(row, 0);
        const float* key = strip.key + strip.at(row, 0);
        for (int64_t x = 0; x < width; x += kLanes) {
            const Vec here = load(u + x), there = load(v + x);
            const Mask hit = above(load(key + x), splat(kFar));
            // What jumps from the pixels to those `step` further on; both are marked where they are this strip's.
            const auto look = [&](int64_t step, bool own, int64_t other) {
                const Vec across = here - load(u + x + step), down = there - load(v + x + step);
                const Mask far = above(across, splat(fold)) | above(splat(-fold), across) | above(down, splat(fold)) |
                                 above(splat(-fold), down);
                const Mask jump = far & hit & above(load(key + x + step), splat(kFar));
                if (!any(jump)) return;
                const int64_t pixel = (first + row - 1) * width + x;
                for (int64_t i = 0; i < std::min<int64_t>(kLanes, width - x); ++i)
                    if (marked(jump, i)) {
                        found.push_back(pixel + i);
                        if (own) found.push_back(pixel + i + other);
                    }
            };
            look(1, true, 1);
            if (row == 1 && has_upper) look(-strip.pitch, false, 0);
            if (row < rows || has_lower) look(strip.pitch, row < rows, width);
        }
    }
}

// The frame at `pixels` under a small Gaussian (sigma 0.8), all from what it was before.
void soften_folds(uint8_t* image, const std::vector<int64_t>& pixels, int64_t height, int64_t width) {
    constexpr float kSide = 0.23899427f, kMiddle = 0.52201147f;
    std::vector<uint8_t> softened(3 * pixels.size());
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < pixels.size(); ++i) {
        const int64_t row = pixels[i] / width, x = pixels[i] % width;
        float sum[3] = {};
        for (int64_t dy = -1; dy <= 1; ++dy)
            for (int64_t dx = -1; dx <= 1; ++dx) {
                const int64_t r = std::clamp<int64_t>(row + dy, 0, height - 1);
                const int64_t c = std::clamp<int64_t>(x + dx, 0, width - 1);
                const float weight = (dy == 0 ? kMiddle : kSide) * (dx == 0 ? kMiddle : kSide);
                for (int k = 0; k < 3; ++k) sum[k] += weight * image[3 * (r * width + c) + k];
            }
        for (int k = 0; k < 3; ++k) softened[3 * i + k] = static_cast<uint8_t>(sum[k] + 0.5f);
    }
    for (size_t i = 0; i < pixels.size(); ++i) std::copy_n(&softened[3 * i], 3, image + 3 * pixels[i]);
}

}  // namespace

void compose_layers(const uint8_t* plate, int64_t height, int64_t width, const std::vector<Sheet>& sheets,
                    const Trace& trace, uint8_t* out) {
    if (height == 0 || width == 0) return;
    const int64_t strips = (height + kStripRows - 1) / kStripRows;
    std::vector<Bins> bins;
    bins.reserve(sheets.size());
    for (const Sheet& sheet : sheets) bins.emplace_back(sheet, height, width, strips);
    std::vector<std::vector<int64_t>> folds(strips);
#pragma omp parallel
    {
        Strip strip(width);
#pragma omp for schedule(dynamic)
        for (int64_t s = 0; s < strips; ++s) {
            const int64_t first = s * kStripRows, rows = std::min(kStripRows, height - first);
            const bool has_upper = first > 0, has_lower = first + rows < height;
            begin(strip);
            for (size_t i = sheets.size(); i-- > 0;) {  // from above, so that what is hidden costs little
                const Bins& sorted = bins[i];
                const bool traced = static_cast<int64_t>(i) == trace.sheet;
                const bool touched = sorted.offset[s] < sorted.offset[s + 1];
                if (!touched && !traced) continue;
                if (traced) std::fill_n(+strip.closed, strip.blocks, uint8_t{0});  // the trace is of hidden parts, too
                std::fill_n(+strip.key, strip.pitch * kRows, kFar);
                for (int64_t j = sorted.offset[s]; j < sorted.offset[s + 1]; ++j) {
                    const int32_t face = sorted.faces[j];
                    const Reach& r = sorted.reaches[face];
                    draw(sheets[i], face, std::max<int64_t>(r.y0, first - 1), std::min<int64_t>(r.y1, first + rows + 1),
                         first - 1, width, strip);
                }
                if (sheets[i].soft) soften_outline(strip, rows, width, has_upper, has_lower);
                blend(sheets[i], traced ? &trace : nullptr, strip, first, rows, width);
                if (sheets[i].fold > 0)
                    find_folds(sheets[i].fold, strip, first, rows, width, has_upper, has_lower, folds[s]);
                if (i > 0) close_blocks(strip, rows, width);
            }
            finish(plate, strip, first, rows, width, out);
        }
    }
    std::vector<int64_t> all;
    for (const auto& some : folds) all.insert(all.end(), some.begin(), some.end());
    if (!all.empty()) soften_folds(out, all, height, width);
}

void restore_lost(uint8_t* image, const int16_t* lost, const uint8_t* still, int64_t height, int64_t width) {
    const int64_t pixels = height * width;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < height; ++row)
        for (int64_t x = 0; x < width; x += kLanes) {
            const int64_t pixel = row * width + x, count = std::min<int64_t>(kLanes, width - x);
            const Vec share = load_bytes(still + pixel, count) * (1.f / 255.f);
            if (!any(above(share, Vec{}))) continue;
            const Vec red = load_shorts(lost + pixel, count), green = load_shorts(lost + pixels + pixel, count);
            const Vec blue = load_shorts(lost + 2 * pixels + pixel, count);
            if (!any(above(red * red + green * green + blue * blue, Vec{}))) continue;  // beside the person
            const Color color = load_rgb(image + 3 * pixel, count);
            store_rgb(image + 3 * pixel, color.red + share * red, color.green + share * green,
                      color.blue + share * blue, count);
        }
}

}  // namespace avatarkit::AK_ISA
