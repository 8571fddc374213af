#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "patches/patches.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int kLines = 4;  // on which a row's coverage is measured
constexpr float kStretch[2] = {0.3f, 2.f};  // by how much less or more than the eye opens the white goes by near its lids

float smoothstep(float x) {
    const float t = std::clamp(x, 0.f, 1.f);
    return t * t * (3 - 2 * t);
}

// A part of the frame with a share for each of its pixels.
struct Mask {
    int64_t left = 0, top = 0, width = 0, height = 0;
    std::vector<float> share;
    bool empty() const { return share.empty(); }
};

// Zeros over the box of `points` [n, 2], grown by margins at the left, top, right and bottom.
Mask box_of(const float* points, int64_t count, const Frame& frame, const int64_t (&margin)[4]) {
    float low[2] = {1e9f, 1e9f}, high[2] = {-1e9f, -1e9f};
    for (int64_t i = 0; i < 2 * count; ++i) {
        if (!(std::fabs(points[i]) < 1e6f)) return {};
        low[i % 2] = std::min(low[i % 2], points[i]);
        high[i % 2] = std::max(high[i % 2], points[i]);
    }
    Mask mask;
    mask.left = std::max<int64_t>(static_cast<int64_t>(std::floor(low[0])) - margin[0], 0);
    mask.top = std::max<int64_t>(static_cast<int64_t>(std::floor(low[1])) - margin[1], 0);
    mask.width = std::min(static_cast<int64_t>(std::ceil(high[0])) + margin[2], frame.width) - mask.left;
    mask.height = std::min(static_cast<int64_t>(std::ceil(high[1])) + margin[3], frame.height) - mask.top;
    if (count > 0 && mask.width >= 2 && mask.height >= 2) mask.share.assign(mask.width * mask.height, 0.f);
    return mask;
}

void fill(const Polygon& polygon, Mask& mask) {
    std::vector<float> crossings;
    for (int64_t row = 0; row < mask.height; ++row) {
        float* share = &mask.share[row * mask.width];
        for (int line = 0; line < kLines; ++line) {
            const float y = static_cast<float>(mask.top + row) + (line + 0.5f) / kLines;
            crossings.clear();
            for (int64_t i = 0; i < polygon.count; ++i) {
                const float* a = polygon.points + 2 * i;
                const float* b = polygon.points + 2 * ((i + 1) % polygon.count);
                if ((a[1] <= y) == (b[1] <= y)) continue;
                crossings.push_back(a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) - static_cast<float>(mask.left));
            }
            std::sort(crossings.begin(), crossings.end());
            for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
                const float from = std::clamp(crossings[i], 0.f, static_cast<float>(mask.width));
                const float to = std::clamp(crossings[i + 1], 0.f, static_cast<float>(mask.width));
                for (int64_t x = static_cast<int64_t>(from); x < mask.width && static_cast<float>(x) < to; ++x) {
                    const float at = static_cast<float>(x);
                    share[x] += (std::min(to, at + 1) - std::max(from, at)) / kLines;
                }
            }
        }
    }
}

// `mask` under a Gaussian; beyond its box the border goes on.
void blur(Mask& mask, float soft) {
    const int64_t reach = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(3 * soft)));
    std::vector<float> kernel(2 * reach + 1);
    float total = 0;
    for (int64_t i = -reach; i <= reach; ++i) total += kernel[i + reach] = std::exp(-0.5f * (i / soft) * (i / soft));
    for (float& k : kernel) k /= total;
    const int64_t width = mask.width, height = mask.height;
    std::vector<float> wide(width + 2 * reach), across(width * height);
    for (int64_t y = 0; y < height; ++y) {
        const float* row = &mask.share[y * width];
        std::fill_n(wide.begin(), reach, row[0]);
        std::copy_n(row, width, wide.begin() + reach);
        std::fill_n(wide.begin() + reach + width, reach, row[width - 1]);
        float* out = &across[y * width];
        for (int64_t k = 0; k <= 2 * reach; ++k)
            for (int64_t x = 0; x < width; ++x) out[x] += kernel[k] * wide[x + k];
    }
    std::fill(mask.share.begin(), mask.share.end(), 0.f);
    for (int64_t y = 0; y < height; ++y) {
        float* out = &mask.share[y * width];
        for (int64_t k = -reach; k <= reach; ++k) {
            const float* row = &across[std::clamp<int64_t>(y + k, 0, height - 1) * width];
            for (int64_t x = 0; x < width; ++x) out[x] += kernel[k + reach] * row[x];
        }
    }
}

Mask mask_of(const Polygon& polygon, const Frame& frame) {
    const int64_t m = polygon.margin;
    Mask mask = box_of(polygon.points, polygon.count, frame, {m, m, m, m});
    if (mask.empty()) return mask;
    fill(polygon, mask);
    blur(mask, polygon.soft);
    return mask;
}

struct Color {
    float c[4];
};

Color look_up(const Picture& picture, float x, float y) {
    x = std::clamp(x - 0.5f, 0.f, static_cast<float>(picture.columns - 1));
    y = std::clamp(y - 0.5f, 0.f, static_cast<float>(picture.rows - 1));
    const auto x0 = static_cast<int64_t>(x), y0 = static_cast<int64_t>(y);
    const float fx = x - static_cast<float>(x0), fy = y - static_cast<float>(y0);
    const int64_t right = x0 + 1 < picture.columns ? 4 : 0, below = y0 + 1 < picture.rows ? 4 * picture.columns : 0;
    const float* t = picture.texels + 4 * (y0 * picture.columns + x0);
    Color color;
    for (int k = 0; k < 4; ++k) {
        const float upper = t[k] + fx * (t[right + k] - t[k]);
        const float lower = t[below + k] + fx * (t[below + right + k] - t[below + k]);
        color.c[k] = upper + fy * (lower - upper);
    }
    return color;
}

void mapped(const float* map, float x, float y, float& u, float& v) {
    u = map[0] * x + map[1] * y + map[2];
    v = map[3] * x + map[4] * y + map[5];
}

// Lines in their own coordinates.
struct Heights {
    std::vector<std::array<float, 2>> line[2];

    explicit Heights(const Lines& lines) {
        for (int k = 0; k < 2; ++k) {
            line[k].resize(lines.count);
            for (int64_t i = 0; i < lines.count; ++i) {
                const float* p = lines.both + 2 * (k * lines.count + i);
                mapped(lines.axes, p[0], p[1], line[k][i][0], line[k][i][1]);
            }
            std::stable_sort(line[k].begin(), line[k].end(), [](const auto& a, const auto& b) { return a[0] < b[0]; });
        }
    }

    // Of the upper (0) or lower (1) line at `x`; beyond its ends theirs.
    float at(int k, float x) const {
        const auto& points = line[k];
        if (!(x > points[0][0])) return points[0][1];
        for (size_t i = 1; i < points.size(); ++i)
            if (x < points[i][0]) {
                const auto& a = points[i - 1];
                return a[1] + (x - a[0]) / (points[i][0] - a[0]) * (points[i][1] - a[1]);
            }
        return points.back()[1];
    }

    // Mean distance of the lines at the points but the two at each end.
    float apart() const {
        float sum = 0;
        const size_t count = line[0].size();
        for (size_t i = 2; i + 2 < count; ++i) sum += line[1][i][1] - line[0][i][1];
        return std::max(sum / std::max<size_t>(count - 4, 1), 1e-3f);
    }
};

void lay(uint8_t* pixel, const float* color, float share) {
    for (int k = 0; k < 3; ++k) {
        const float below = pixel[k];
        pixel[k] = static_cast<uint8_t>(std::clamp(below + share * (color[k] - below) + 0.5f, 0.f, 255.f));
    }
}

// `visit(pixel, x, y, i)` for the pixels of the mask in which its share is above 0.
template <class Visit>
void each(const Mask& mask, const Frame& frame, const Visit& visit) {
    for (int64_t row = 0; row < mask.height; ++row)
        for (int64_t column = 0; column < mask.width; ++column) {
            const int64_t i = row * mask.width + column, x = mask.left + column, y = mask.top + row;
            if (mask.share[i] > 0)
                visit(frame.pixels + 3 * (y * frame.width + x), static_cast<float>(x) + 0.5f,
                      static_cast<float>(y) + 0.5f, i);
        }
}

}  // namespace

void paint_pictures(const Frame& frame, const Polygon& polygon, const std::vector<Picture>& pictures, float opacity,
                    const Lines* fade, const Shade& shade) {
    const Mask mask = mask_of(polygon, frame);
    if (mask.empty() || pictures.empty()) return;
    Mask shadow;
    if (shade.strength > 0) {
        shadow = mask;
        blur(shadow, shade.soft);
    }
    const std::optional<Heights> heights = fade ? std::optional<Heights>(*fade) : std::nullopt;
    const int64_t drop = std::max<int64_t>(1, std::lround(shade.soft)) * mask.width;
    each(mask, frame, [&](uint8_t* pixel, float x, float y, int64_t i) {
        float color[3] = {}, share = opacity * mask.share[i];
        for (size_t p = 0; p < pictures.size(); ++p) {
            float u, v;
            mapped(pictures[p].map, x, y, u, v);
            const Color seen = look_up(pictures[p], u, v);
            const float over = p == 0 ? 1 : seen.c[3];
            for (int k = 0; k < 3; ++k) color[k] += over * (seen.c[k] - color[k]);
        }
        if (fade) {
            float a, b;
            mapped(fade->axes, x, y, a, b);
            const float upper = heights->at(0, a), lower = heights->at(1, a);
            share *= smoothstep((1 - (lower - b) / std::max(lower - upper, 1e-3f)) / 0.7f);
        }
        if (shade.strength > 0) {
            const float least = std::min(shadow.share[i], i >= drop ? shadow.share[i - drop] : 0.f);
            const float light = 1 - shade.strength * std::clamp(1 - 1.15f * least, 0.f, 1.f);
            for (float& c : color) c *= light;
        }
        lay(pixel, color, share);
    });
}

void paint_eyeball(const Frame& frame, const Polygon& polygon, const Eyeball& eye, const Lines& lids) {
    const Mask mask = mask_of(polygon, frame);
    if (mask.empty()) return;
    const Heights now(lids), rest(eye.rest);
    const float slope = std::clamp(now.apart() / rest.apart(), kStretch[0], kStretch[1]);
    each(mask, frame, [&](uint8_t* pixel, float x, float y, int64_t i) {
        float a, b, u, v;
        mapped(lids.axes, x, y, a, b);
        mapped(eye.iris.map, a - eye.shift[0], b - eye.shift[1], u, v);
        const Color iris = look_up(eye.iris, u, v);
        // Where across the resting eye the white lies that shows here.
        const float upper = now.at(0, a), lower = now.at(1, a);
        const float t = (b - upper) / std::max(lower - upper, 1e-3f), inside = std::clamp(t, 0.f, 1.f);
        const float bent = slope * inside + (1 - slope) * smoothstep(inside) + (t - inside);
        const float top = rest.at(0, a), bottom = rest.at(1, a);
        mapped(eye.white.map, a, top + bent * (bottom - top), u, v);
        const Color white = look_up(eye.white, u, v);
        const float light = std::min((white.c[0] + white.c[1] + white.c[2]) / (3 * eye.level), 1.2f);
        float color[3];
        for (int k = 0; k < 3; ++k) color[k] = white.c[k] + iris.c[3] * (light * iris.c[k] - white.c[k]);
        lay(pixel, color, mask.share[i]);
    });
}

void paint_lashes(const Frame& frame, const float* line, int64_t count, const float* color, float thickness,
                  int64_t length, float opacity) {
    Mask mask = box_of(line, count, frame, {4, 4, 4, 4 + length});
    if (mask.empty()) return;
    for (int64_t row = 0; row < mask.height; ++row)
        for (int64_t column = 0; column < mask.width; ++column) {
            const float x = static_cast<float>(mask.left + column) + 0.5f, y = static_cast<float>(mask.top + row) + 0.5f;
            float nearest = 1e12f;
            for (int64_t i = 0; i + 1 < count; ++i) {
                const float ax = line[2 * i], ay = line[2 * i + 1], dx = line[2 * i + 2] - ax, dy = line[2 * i + 3] - ay;
                const float along = ((x - ax) * dx + (y - ay) * dy) / std::max(dx * dx + dy * dy, 1e-12f);
                const float t = std::clamp(along, 0.f, 1.f), ex = x - ax - t * dx, ey = y - ay - t * dy;
                nearest = std::min(nearest, ex * ex + ey * ey);
            }
            mask.share[row * mask.width + column] = std::clamp(thickness / 2 + 0.5f - std::sqrt(nearest), 0.f, 1.f);
        }
    blur(mask, 0.6f);
    const std::vector<float> drawn = mask.share;
    for (int64_t step = 1; step <= length && step < mask.height; ++step) {
        const float thin = 0.5f * std::pow(1 - static_cast<float>(step) / (length + 1), 1.5f);
        for (int64_t i = step * mask.width; i < mask.height * mask.width; ++i)
            mask.share[i] = std::max(mask.share[i], thin * drawn[i - step * mask.width]);
    }
    const float first = line[0], reach = line[2 * count - 2] - first;
    each(mask, frame, [&](uint8_t* pixel, float x, float, int64_t i) {
        const float along = std::clamp((x - first) / (reach == 0 ? 1.f : reach), 0.f, 1.f);
        lay(pixel, color, opacity * mask.share[i] * (1 - 0.75f * smoothstep((along - 0.55f) / 0.45f)));
    });
}

}  // namespace avatarkit::AK_ISA
