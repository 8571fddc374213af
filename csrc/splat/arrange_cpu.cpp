// Projects splats, sorts them by depth and lists those of every tile.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/threads.h"
#include "splat/projection.h"
#include "splat/splat.h"
#include "splat/tile.h"
#include "splat/workspace.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896341f;

// Half size of the ellipses of least alpha along one axis, from the variance along it.
inline float reach(float variance, float level) {
    return std::sqrt(std::max(0.f, variance * (level - kLeastLevel) * (2.f / kLog2E))) * 1.0001f + 1e-4f;
}

// First and last + 1 of the tiles of `size` pixels, `tiles` in all, whose pixel centers `low` to `high` touch.
inline int first_tile(float low, float size, int tiles) {
    return static_cast<int>(std::clamp(std::ceil((low - (size - 0.5f)) / size), 0.f, static_cast<float>(tiles)));
}
inline int last_tile(float high, float size, int tiles) {
    return static_cast<int>(std::clamp(std::floor((high - 0.5f) / size) + 1.f, 0.f, static_cast<float>(tiles)));
}

// Projects scene splats [begin, end): visible ones to records[begin...] with keys of depth and place.
int64_t project(const SplatScene& scene, const SplatFrame& frame, Range range, SplatRecord* records,
                uint64_t* keys) {
    const Camera camera(scene);
    int64_t visible = 0;
    for (int64_t at = range.begin; at < range.end; at += kLanes) {
        const int used = static_cast<int>(std::min<int64_t>(kLanes, range.end - at));
        int32_t which[kLanes];
        for (int i = 0; i < kLanes; ++i) which[i] = static_cast<int32_t>(at + std::min(i, used - 1));
        const Projection p(scene, camera, which);
        const Vec scale = splat(-0.5f * kLog2E) * p.inverse_area;
        const Vec x = camera.fx * p.u + camera.cx, y = camera.fy * p.v + camera.cy;
        const Vec aa = scale * p.yy, ab = splat(-2.f) * scale * p.xy, bb = scale * p.xx;
        const Vec area = splat(0.25f * kLog2E * kLog2E) * p.inverse_area;
        for (int i = 0; i < used; ++i) {
            const float opacity = scene.opacity[at + i], z = p.z[i];
            const bool sound = z > kNear && opacity >= kLeastAlpha && p.xx[i] > 0.f && area[i] > 0.f &&
                               std::isfinite(x[i] + y[i] + z + aa[i] + ab[i] + bb[i] + area[i] + opacity);
            if (!sound) continue;
            SplatRecord& r = records[range.begin + visible];
            r.level = std::log2(std::min(opacity, kLargestOpacity));
            r.reach_x = reach(p.xx[i], r.level), r.reach_y = reach(p.yy[i], r.level);
            r.row_begin = first_tile(y[i] - r.reach_y, kTileHeight, frame.down);
            r.row_end = last_tile(y[i] + r.reach_y, kTileHeight, frame.down);
            const float width = static_cast<float>(scene.width);
            if (r.row_begin >= r.row_end || x[i] + r.reach_x < 0.f || x[i] - r.reach_x > width) continue;
            r.x = x[i], r.y = y[i], r.aa = aa[i], r.ab = ab[i], r.bb = bb[i], r.area = area[i];
            const float* color = scene.color + (at + i) * 3;
            r.red = color[0], r.green = color[1], r.blue = color[2];
            r.index = static_cast<int32_t>(at + i);
            uint32_t depth;
            std::memcpy(&depth, &z, sizeof depth);  // of positive floats the bits sort like the values
            keys[range.begin + visible] = static_cast<uint64_t>(depth) << 32 | static_cast<uint64_t>(range.begin + visible);
            ++visible;
        }
    }
    return visible;
}

// Stable sort by the upper 32 bits, least significant digit first; returns which of both arrays holds the result.
uint64_t* sort_by_depth(uint64_t* keys, uint64_t* other, int64_t count) {
    constexpr int kDigits = 3, kBits = 11, kBuckets = 1 << kBits;
    Scratch<uint32_t> histograms(kDigits * kBuckets);
    std::fill(+histograms, histograms + kDigits * kBuckets, 0u);
    for (int64_t i = 0; i < count; ++i)
        for (int d = 0; d < kDigits; ++d) ++histograms[d * kBuckets + (keys[i] >> (32 + d * kBits) & (kBuckets - 1))];
    for (int d = 0; d < kDigits && count > 0; ++d) {
        uint32_t* places = histograms + d * kBuckets;
        const int shift = 32 + d * kBits;
        if (places[keys[0] >> shift & (kBuckets - 1)] == count) continue;  // all share this digit
        uint32_t sum = 0;
        for (int b = 0; b < kBuckets; ++b) {
            const uint32_t here = places[b];
            places[b] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < count; ++i) other[places[keys[i] >> shift & (kBuckets - 1)]++] = keys[i];
        std::swap(keys, other);
    }
    return keys;
}

// The tiles of each row that the ellipse of least alpha touches, as begin | end << 16.
void find_spans(const SplatRecord& s, int across, uint32_t* spans) {
    // A x^2 + 2 B x y + C y^2 <= Q; its rightmost point lies at y = -B / C reach_x, its leftmost opposite.
    const float a = -s.aa, b = -0.5f * s.ab, budget = (s.level - kLeastLevel) * 1.0001f + 1e-4f;
    const Vec turn = splat(b / s.bb * s.reach_x), inverse_a = splat(1.f / a), b_over_a = splat(b / a);
    const Vec product = splat(a * budget), area = splat(s.area), center = splat(s.x);
    Vec lane;
    for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<float>(i);
    const auto edge = [&](Vec y, float side) {
        const Vec half = root(larger(product - area * y * y, Vec{})) * inverse_a;
        return center - b_over_a * y + splat(side) * half;
    };
    const Vec last = splat(static_cast<float>(across));
    const Vec per_tile = splat(1.f / kTileWidth);
    for (int row = s.row_begin; row < s.row_end; row += kLanes) {
        const Vec low = (lane + splat(static_cast<float>(row))) * splat(kTileHeight) + splat(0.5f - s.y);
        const Vec high = low + splat(kTileHeight - 1.f);
        const Vec right = edge(smaller(larger(turn, low), high), 1.f);
        const Vec left = edge(smaller(larger(-turn, low), high), -1.f);
        // Truncation rounds down what is not negative: tiles are counted from one before the first.
        const Vec begin = smaller(larger((left + splat(0.5f)) * per_tile, Vec{}), last);
        const Vec end = smaller(larger((right - splat(0.5f)) * per_tile + splat(1.f), Vec{}), last);
        const VecInt from = __builtin_convertvector(begin, VecInt), to = __builtin_convertvector(end, VecInt);
        const int rows = std::min(kLanes, s.row_end - row);
        for (int i = 0; i < rows; ++i)
            spans[row - s.row_begin + i] = static_cast<uint32_t>(from[i]) | static_cast<uint32_t>(std::max(to[i], from[i])) << 16;
    }
}

// Calls work(row, begin, end) for each row of tiles of a splat that is this thread's: row % threads == thread.
template <class Work>
inline void own_rows(const SplatRecord& s, const uint32_t* spans, int thread, int threads, Work&& work) {
    const int skip = (thread - s.row_begin % threads + threads) % threads;
    for (int row = s.row_begin + skip; row < s.row_end; row += threads) {
        const uint32_t span = spans[s.span + row - s.row_begin];
        work(row, static_cast<int>(span & 0xffff), static_cast<int>(span >> 16));
    }
}

}  // namespace

void splat_arrange(const SplatScene& scene, SplatFrame& frame) {
    const int threads = thread_count();
    frame.across = (scene.width + kTileWidth - 1) / kTileWidth;
    frame.down = (scene.height + kTileHeight - 1) / kTileHeight;
    const int64_t tiles = static_cast<int64_t>(frame.across) * frame.down;
    auto* records = room<SplatRecord>(frame.records, scene.count);
    frame.splats = room<SplatRecord>(frame.sorted, scene.count);
    auto* keys = room<uint64_t>(frame.keys, 2 * scene.count);
    frame.tiles = room<uint32_t>(frame.counts, tiles + 2 + static_cast<int64_t>(frame.down));
    std::fill(frame.tiles, frame.tiles + tiles + 2 + frame.down, 0u);
    Scratch<int64_t> found(threads + 1);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t)
        found[t] = project(scene, frame, part_of(scene.count, t, threads, kLanes), records, keys);
    frame.visible = 0;
    for (int t = 0; t < threads; ++t) {
        const int64_t begin = part_of(scene.count, t, threads, kLanes).begin;
        std::copy(keys + begin, keys + begin + found[t], keys + frame.visible);
        frame.visible += found[t];
    }
    const uint64_t* order = sort_by_depth(keys, keys + scene.count, frame.visible);
    int64_t rows = 0;
    for (int64_t i = 0; i < frame.visible; ++i) {
        SplatRecord& r = records[static_cast<uint32_t>(order[i])];
        r.span = static_cast<int32_t>(rows);
        rows += r.row_end - r.row_begin;
    }
    auto* spans = room<uint32_t>(frame.spans, rows);
    // Lists are counted as differences along a row, one place longer than the row has tiles.
    const int64_t pitch = frame.across + 1;
    uint32_t* counts = frame.tiles;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < frame.visible; ++i) {
            frame.splats[i] = records[static_cast<uint32_t>(order[i])];
            find_spans(frame.splats[i], frame.across, spans + frame.splats[i].span);
        }
#pragma omp for schedule(static, 1)
        for (int t = 0; t < threads; ++t)
            for (int64_t i = 0; i < frame.visible; ++i)
                own_rows(frame.splats[i], spans, t, threads, [&](int row, int begin, int end) {
                    ++counts[row * pitch + begin];
                    --counts[row * pitch + end];
                });
    }
    // Sums of the differences are lengths; their sums are where lists begin. Compacts the rows on the way.
    uint32_t total = 0, place = 0;
    for (int row = 0; row < frame.down; ++row) {
        uint32_t length = 0;
        for (int column = 0; column < frame.across; ++column) {
            length += counts[row * pitch + column];
            counts[place++] = total;
            total += length;
        }
    }
    frame.entries = room<uint32_t>(frame.lists, total);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t)
        for (int64_t i = 0; i < frame.visible; ++i)
            own_rows(frame.splats[i], spans, t, threads, [&](int row, int begin, int end) {
                uint32_t* cursor = counts + static_cast<int64_t>(row) * frame.across;
                for (int column = begin; column < end; ++column)
                    frame.entries[cursor[column]++] = static_cast<uint32_t>(i);
            });
    // Every cursor now stands at the end of its list, where the next one begins.
    std::copy_backward(counts, counts + tiles, counts + tiles + 1);
    counts[0] = 0;
}

}  // namespace avatarkit::AK_ISA
