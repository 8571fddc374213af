// Projects splats, sorts them by depth and lists those of every tile.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/threads.h"
#include "splat/projection.h"
#include "splat/records.h"
#include "splat/splat.h"
#include "splat/tile.h"
#include "splat/workspace.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896341f;

// x rounded up, for |x| < 2^22.
inline Vec round_up(Vec x) {
    const Vec magic = splat(12582912.f), nearest = (x + magic) - magic;
    return nearest + select(nearest < x, splat(1.f), Vec{});
}

// First of the tiles of `size` pixels, `tiles` in all, whose last pixel center lies at `low` or beyond.
inline Vec first_tile(Vec low, float size, int tiles) {
    const Vec place = (low - splat(size - 0.5f)) * splat(1.f / size);
    const Vec bounded = smaller(larger(place, Vec{}), splat(static_cast<float>(tiles)));
    return round_up(bounded);
}
// The one after the last whose first pixel center lies at `high` or before.
inline Vec last_tile(Vec high, float size, int tiles) {
    const Vec place = (high + splat(size - 0.5f)) * splat(1.f / size);
    const Vec bounded = smaller(larger(place, Vec{}), splat(static_cast<float>(tiles)));
    return __builtin_convertvector(__builtin_convertvector(bounded, VecInt), Vec);
}

// Projects scene splats [begin, end): their records, flags and numbers of rows, and of visible ones keys of depth and
// place. Returns how many these are.
template <class Source>
int64_t project(const SplatScene& scene, const SplatFrame& frame, Range range, uint16_t* rows, uint64_t* keys) {
    const Camera camera(scene);
    const Vec width = splat(static_cast<float>(scene.width)), infinite = splat(std::numeric_limits<float>::infinity());
    int64_t found = 0;
    for (int64_t at = range.begin; at < range.end; at += kLanes) {
        const Source source(scene, at);
        const Projection p(source.value, camera);
        const Vec opacity = source.value.opacity, scale = splat(-0.5f * kLog2E) * p.inverse_area;
        // In the order of SplatRecord.
        Vec field[kRecordFields] = {};
        field[0] = camera.fx * p.u + camera.cx, field[1] = camera.fy * p.v + camera.cy;
        field[2] = scale * p.yy, field[3] = splat(-2.f) * scale * p.xy, field[4] = scale * p.xx;
        field[5] = logarithm2(smaller(opacity, splat(kLargestOpacity)));
        for (int c = 0; c < 3; ++c) field[6 + c] = source.value.color[c];
        field[9] = splat(0.25f * kLog2E * kLog2E) * p.inverse_area;
        const Vec budget = larger((field[5] - splat(kLeastLevel)) * splat(2.f / kLog2E), Vec{});
        field[10] = root(larger(p.xx * budget, Vec{})) * splat(1.0001f) + splat(1e-4f);
        field[11] = root(larger(p.yy * budget, Vec{})) * splat(1.0001f) + splat(1e-4f);
        const Vec begin = first_tile(field[1] - field[11], kTileHeight, frame.down);
        const Vec end = last_tile(field[1] + field[11], kTileHeight, frame.down);
        const VecInt row_begin = __builtin_convertvector(begin, VecInt), row_end = __builtin_convertvector(end, VecInt);
        field[12] = (Vec)row_begin, field[13] = (Vec)row_end;
        const Vec all = field[0] + field[1] + field[2] + field[3] + field[4] + field[9] + p.z;
        const VecInt seen = (p.z > splat(kNear)) & (opacity >= splat(kLeastAlpha)) & (p.xx > Vec{}) &
                            (field[9] > Vec{}) & (all < infinite) & (all > -infinite) & (begin < end) &
                            (field[0] + field[10] > Vec{}) & (field[0] - field[10] < width);
        const VecInt depth = (VecInt)p.z, height = row_end - row_begin;
        for (int i = 0; i < source.lanes.used; ++i) {
            const int64_t place = at + i;
            frame.seen[place] = seen[i];
            rows[place] = static_cast<uint16_t>(height[i]);
            // of positive floats the bits sort like the values
            keys[found] = static_cast<uint64_t>(static_cast<uint32_t>(depth[i])) << 32 | static_cast<uint64_t>(place);
            found += seen[i] & 1;
        }
        store_records(field, source.lanes.used, frame.splats + at);
    }
    return found;
}

// Stable sort by the upper 32 bits, least significant digit first; returns which of both arrays holds the result.
uint64_t* sort_by_depth(uint64_t* keys, uint64_t* other, int64_t count) {
    constexpr int kMostBits = 12;
    uint32_t least = ~0u, most = 0;
    for (int64_t i = 0; i < count; ++i) {
        const auto key = static_cast<uint32_t>(keys[i] >> 32);
        least = std::min(least, key), most = std::max(most, key);
    }
    if (count == 0 || least == most) return keys;
    // Only the bits that tell these splats apart are sorted by: those of a head take two passes.
    const int bits = 32 - __builtin_clz(most - least), digits = (bits + kMostBits - 1) / kMostBits;
    const int width = (bits + digits - 1) / digits, buckets = 1 << width;
    Scratch<uint32_t> places(buckets);
    for (int d = 0; d < digits; ++d) {
        const auto digit = [&](uint64_t key) {
            return (static_cast<uint32_t>(key >> 32) - least) >> (d * width) & static_cast<uint32_t>(buckets - 1);
        };
        std::fill(+places, places + buckets, 0u);
        for (int64_t i = 0; i < count; ++i) ++places[digit(keys[i])];
        uint32_t sum = 0;
        for (int b = 0; b < buckets; ++b) {
            const uint32_t here = places[b];
            places[b] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < count; ++i) other[places[digit(keys[i])]++] = keys[i];
        std::swap(keys, other);
    }
    return keys;
}

// A row of tiles that a splat touches: tiles [first, first + length) of the frame.
struct Span {
    uint32_t splat, first, length;
};

// The spans of a splat, the `which`th: those its ellipse of least alpha touches in each row.
void find_spans(const SplatRecord& s, uint32_t which, int across, Span* spans) {
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
        const VecInt from = __builtin_convertvector(begin, VecInt);
        const VecInt to = __builtin_convertvector(larger(begin, end), VecInt);
        const int rows = std::min(kLanes, s.row_end - row);
        for (int i = 0; i < rows; ++i)
            spans[row - s.row_begin + i] = {which, static_cast<uint32_t>((row + i) * across + from[i]),
                                            static_cast<uint32_t>(to[i] - from[i])};
    }
}

}  // namespace

void splat_arrange(const SplatScene& scene, SplatFrame& frame) {
    const int threads = thread_count();
    frame.across = (scene.width + kTileWidth - 1) / kTileWidth;
    frame.down = (scene.height + kTileHeight - 1) / kTileHeight;
    const int64_t tiles = static_cast<int64_t>(frame.across) * frame.down;
    frame.splats = room<SplatRecord>(frame.records, scene.count + kLanes);
    frame.seen = room<int32_t>(frame.flags, scene.count);
    auto* keys = room<uint64_t>(frame.keys, 2 * scene.count);
    auto* rows = room<uint16_t>(frame.rows, scene.count);
    Scratch<int64_t> found(threads + 1);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t) {
        const Range mine = part_of(scene.count, t, threads, kLanes);
        // one place more is written than found
        Scratch<uint64_t> own(mine.end - mine.begin + 1);
        found[t] = scene.mean != nullptr ? project<FreeSplats>(scene, frame, mine, rows, own)
                                         : project<CarriedSplats>(scene, frame, mine, rows, own);
        std::copy(+own, own + found[t], keys + mine.begin);
    }
    frame.visible = 0;
    for (int t = 0; t < threads; ++t) {
        const int64_t begin = part_of(scene.count, t, threads, kLanes).begin;
        std::copy(keys + begin, keys + begin + found[t], keys + frame.visible);
        frame.visible += found[t];
    }
    const uint64_t* order = sort_by_depth(keys, keys + scene.count, frame.visible);
    auto* starts = room<uint32_t>(frame.starts, frame.visible);
    uint32_t length = 0;
    for (int64_t i = 0; i < frame.visible; ++i) {
        starts[i] = length;
        length += rows[static_cast<uint32_t>(order[i])];
    }
    auto* spans = room<Span>(frame.spans, length);
    // Every thread lists the spans of its part of the splats; a tile's list is the threads' lists one after another.
    // Lengths are counted as differences, one place beyond the last tile.
    const int64_t pitch = tiles + 1;
    frame.tiles = room<uint32_t>(frame.counts, pitch * (threads + 1));
    uint32_t* counts = frame.tiles + pitch;
    const auto spans_of = [&](int t) {
        const Range part = part_of(frame.visible, t, threads);
        const auto start = [&](int64_t i) { return i < frame.visible ? starts[i] : length; };
        return Range{start(part.begin), start(part.end)};
    };
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t) {
        const Range part = part_of(frame.visible, t, threads);
        for (int64_t i = part.begin; i < part.end; ++i) {
            __builtin_prefetch(frame.splats + static_cast<uint32_t>(order[std::min(i + 8, frame.visible - 1)]));
            const auto which = static_cast<uint32_t>(order[i]);
            find_spans(frame.splats[which], which, frame.across, spans + starts[i]);
        }
        uint32_t* own = counts + t * pitch;
        std::fill(own, own + pitch, 0u);
        const Range mine = spans_of(t);
        for (int64_t e = mine.begin; e < mine.end; ++e) {
            ++own[spans[e].first];
            --own[spans[e].first + spans[e].length];
        }
        for (int64_t tile = 1; tile < tiles; ++tile) own[tile] += own[tile - 1];
    }
    uint32_t total = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
        frame.tiles[tile] = total;
        for (int t = 0; t < threads; ++t) {
            const uint32_t here = counts[t * pitch + tile];
            counts[t * pitch + tile] = total;
            total += here;
        }
    }
    frame.tiles[tiles] = total;
    frame.entries = room<uint32_t>(frame.lists, total);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t) {
        uint32_t* cursor = counts + t * pitch;
        const Range mine = spans_of(t);
        for (int64_t e = mine.begin; e < mine.end; ++e)
            for (uint32_t i = 0; i < spans[e].length; ++i) frame.entries[cursor[spans[e].first + i]++] = spans[e].splat;
    }
}

}  // namespace avatarkit::AK_ISA
