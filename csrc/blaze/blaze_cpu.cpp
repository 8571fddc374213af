#include <algorithm>
#include <cmath>

#include "blaze/blaze.h"
#include "common/simd.h"

namespace avatarkit::AK_ISA {
namespace {

constexpr int kPixels = kLanes == 16 ? 8 : 4;  // pixels whose sums are kept in registers together
constexpr int64_t kStrip = 96;                 // pixels about which depthwise and pointwise take turns

Vec prelu(Vec v, Vec slope) { return larger(v, Vec{}) + slope * smaller(v, Vec{}); }

struct Picture {
    const float* values;
    int64_t height, width, channels;
    const float* at(int64_t row, int64_t column) const { return values + (row * width + column) * channels; }
};

// A row of the depthwise convolution, [W / stride, C], of the three `lines` [W, C] under its window; null: beyond the picture.
void depthwise(const float* const lines[3], int64_t width, int64_t channels, int64_t stride, const float* weights,
               float* out) {
    const int64_t wide = width / stride, before = stride == 1 ? 1 : 0;
    const bool whole = lines[0] && lines[2];
    for (int64_t c = 0; c < channels; c += kLanes) {
        Vec w[9];
        for (int i = 0; i < 9; ++i) w[i] = load(weights + i * channels + c);
        const Vec bias = load(weights + 9 * channels + c);
        for (int64_t column = 0; column < wide; ++column) {
            const int64_t left = column * stride - before;
            Vec sum = bias;
            if (whole && left >= 0 && left + 3 <= width) {
                for (int i = 0; i < 3; ++i) {
                    const float* p = lines[i] + left * channels + c;
                    sum += w[3 * i] * load(p) + w[3 * i + 1] * load(p + channels) + w[3 * i + 2] * load(p + 2 * channels);
                }
            } else {
                for (int i = 0; i < 3; ++i)
                    for (int64_t j = std::max<int64_t>(-left, 0); lines[i] && j < std::min<int64_t>(3, width - left); ++j)
                        sum += w[3 * i + j] * load(lines[i] + (left + j) * channels + c);
            }
            store(out + column * channels + c, sum);
        }
    }
}

// The shortcut of output pixel number `pixel` of rows of `wide` in channels c to c + kLanes.
Vec shortcut(const Picture& x, int64_t stride, int64_t pixel, int64_t wide, int64_t c) {
    if (stride == 0 || c >= x.channels) return Vec{};
    if (stride == 1) return load(x.values + pixel * x.channels + c);
    const auto row = static_cast<uint32_t>(pixel) / static_cast<uint32_t>(wide);  // 64 bits take three times as long
    const float* p = x.at(2 * row, 2 * (pixel - row * wide)) + c;
    const float* q = p + x.width * x.channels;
    return larger(larger(load(p), load(p + x.channels)), larger(load(q), load(q + x.channels)));
}

// PReLU of the pointwise convolution of P pixels `from` [P, in], the first of which is number `first` of an output that is
// `wide` pixels wide; V vectors of channels from `c` on.
template <int P, int V>
void mix(const Picture& x, const BlazeBlock& block, const float* weights, const float* from, int64_t first, int64_t wide,
         int64_t c, float* out) {
    const float* bias = weights + block.in * block.out + c;
    const float* slopes = bias + block.out;
    Vec sum[P][V];
    for (int v = 0; v < V; ++v)
        for (int p = 0; p < P; ++p) sum[p][v] = load(bias + v * kLanes);
    for (int64_t i = 0; i < block.in; ++i) {
        Vec w[V];
        for (int v = 0; v < V; ++v) w[v] = load(weights + i * block.out + c + v * kLanes);
        for (int p = 0; p < P; ++p)
            for (int v = 0; v < V; ++v) sum[p][v] += from[p * block.in + i] * w[v];
    }
    for (int p = 0; p < P; ++p)
        for (int v = 0; v < V; ++v) {
            const Vec value = sum[p][v] + shortcut(x, block.stride, first + p, wide, c + v * kLanes);
            store(out + (first + p) * block.out + c + v * kLanes, prelu(value, load(slopes + v * kLanes)));
        }
}

template <int V>
void mix_pixels(const Picture& x, const BlazeBlock& block, const float* weights, const float* from, int64_t first,
                int64_t count, int64_t wide, float* out) {
    for (int64_t c = 0; c < block.out; c += V * kLanes) {
        int64_t p = 0;
        for (; p + kPixels <= count; p += kPixels)
            mix<kPixels, V>(x, block, weights, from + p * block.in, first + p, wide, c, out);
        for (; p + 4 <= count; p += 4) mix<4, V>(x, block, weights, from + p * block.in, first + p, wide, c, out);
        for (; p < count; ++p) mix<1, V>(x, block, weights, from + p * block.in, first + p, wide, c, out);
    }
}

// Memory that a thread keeps from one call to the next: given back and asked for again, its pages would come anew each time.
float* kept(int64_t count) {
    struct Memory {
        float* data = nullptr;
        int64_t size = 0;
        ~Memory() { std::free(data); }
    };
    thread_local Memory memory;
    if (count > memory.size) {
        std::free(memory.data);
        memory.size = 0;
        memory.data = static_cast<float*>(std::aligned_alloc(64, (4 * count + 63) / 64 * 64));
        if (memory.data == nullptr) throw std::bad_alloc();
        memory.size = count;
    }
    return memory.data;
}

// One block; `out` may be `x` itself with stride 1 and as many channels. `strip` holds the depthwise rows of a strip, and a row of x before.
void apply(const Picture& x, const BlazeBlock& block, float* strip, float* out) {
    const int64_t step = std::max<int64_t>(block.stride, 1), high = x.height / step, wide = x.width / step;
    const int64_t before = block.stride == 1 ? 1 : 0, pitch = x.width * x.channels;
    const float* weights = block.weights + (block.stride ? 10 * block.in : 0);
    const int64_t rows = std::max<int64_t>(1, kStrip / std::max<int64_t>(wide, 1));
    float* const above = strip + rows * wide * block.in;  // the row over the strip, as it was before the strip over it
    for (int64_t top = 0; top < high; top += rows) {
        const int64_t end = std::min(top + rows, high);
        const float* from = x.at(top, 0);
        if (block.stride) {
            for (int64_t row = top; row < end; ++row) {
                const float* lines[3];
                for (int64_t i = 0; i < 3; ++i) {
                    const int64_t line = row * step - before + i;
                    lines[i] = line < 0 || line >= x.height ? nullptr : x.at(line, 0);
                }
                if (block.stride == 1 && row == top && top > 0) lines[0] = above;
                depthwise(lines, x.width, block.in, block.stride, block.weights, strip + (row - top) * wide * block.in);
            }
            if (block.stride == 1) std::copy_n(x.at(end - 1, 0), pitch, above);
            from = strip;
        }
        const int64_t first = top * wide, count = (end - top) * wide;
        if (block.out % (2 * kLanes))
            mix_pixels<1>(x, block, weights, from, first, count, wide, out);
        else
            mix_pixels<2>(x, block, weights, from, first, count, wide, out);
    }
}

int64_t half(const BlazeBlock& block, int64_t size) { return block.stride == 2 ? size / 2 : size; }

// Floats of the largest picture that the blocks make of one of height x width, and of the strips they need for it.
struct Sizes {
    int64_t picture = 0, strip = 0;

    Sizes(int64_t height, int64_t width, const std::vector<BlazeBlock>& blocks) {
        for (const BlazeBlock& block : blocks) {
            strip = std::max(strip, (std::max(kStrip, width) + width) * block.in);
            height = half(block, height), width = half(block, width);
            picture = std::max(picture, height * width * block.out);
        }
    }
};

// `turns` holds two pictures and a strip. Blocks of stride 1 that keep the number of channels work in place, but for the
// first, whose x is not ours, and the last, whose result is not.
void run(const float* x, int64_t height, int64_t width, const std::vector<BlazeBlock>& blocks, const Sizes& sizes,
         float* turns, float* out) {
    float* const places[] = {turns, turns + sizes.picture};
    int place = 0;
    for (size_t i = 0; i < blocks.size(); ++i) {
        const BlazeBlock& block = blocks[i];
        if (x == places[place] && (block.stride != 1 || block.in != block.out)) place = 1 - place;
        float* to = i + 1 == blocks.size() ? out : places[place];
        apply({x, height, width, block.in}, block, turns + 2 * sizes.picture, to);
        height = half(block, height), width = half(block, width);
        x = to;
    }
}

void stem(const uint8_t* image, int64_t height, int64_t width, int64_t channels, const float* weights, float* out) {
    const int64_t wide = width / 2, pitch = 3 * (width + 1);
    const float* bias = weights + 27 * channels;
    Scratch<float> lines(3 * pitch + 3 * 2 * kPixels);  // three rows of the picture, a column of 0 at their end
    std::fill_n(+lines, 3 * pitch + 3 * 2 * kPixels, 0.f);
    for (int64_t row = 0; row < height / 2; ++row) {
        for (int64_t i = 0; i < 3; ++i) {
            const int64_t line = 2 * row + i;
            for (int64_t k = 0; k < 3 * width; ++k)
                lines[i * pitch + k] = line < height ? static_cast<float>(image[line * 3 * width + k]) * (1.f / 255) : 0.f;
        }
        for (int64_t c = 0; c < channels; c += kLanes)
            for (int64_t column = 0; column < wide; column += kPixels) {
                Vec sum[kPixels];
                for (Vec& s : sum) s = load(bias + c);
                for (int64_t i = 0; i < 3; ++i) {
                    const float* p = lines + i * pitch + 6 * column;
                    for (int64_t k = 0; k < 9; ++k) {
                        const Vec w = load(weights + (9 * i + k) * channels + c);
                        for (int j = 0; j < kPixels; ++j) sum[j] += p[6 * j + k] * w;
                    }
                }
                const Vec slope = load(bias + channels + c);
                for (int64_t j = 0; j < std::min<int64_t>(kPixels, wide - column); ++j)
                    store(out + (row * wide + column + j) * channels + c, prelu(sum[j], slope));
            }
    }
}

}  // namespace

void blaze_chain(const float* x, int64_t height, int64_t width, const std::vector<BlazeBlock>& blocks, float* out) {
    const Sizes sizes(height, width, blocks);
    run(x, height, width, blocks, sizes, kept(2 * sizes.picture + sizes.strip), out);
}

void blaze_begin(const uint8_t* image, int64_t height, int64_t width, int64_t channels, const float* weights,
                 const std::vector<BlazeBlock>& blocks, float* out) {
    if (blocks.empty()) return stem(image, height, width, channels, weights, out);
    Sizes sizes(height / 2, width / 2, blocks);
    sizes.picture = std::max(sizes.picture, height / 2 * (width / 2) * channels);
    float* const turns = kept(2 * sizes.picture + sizes.strip);
    stem(image, height, width, channels, weights, turns);
    run(turns, height / 2, width / 2, blocks, sizes, turns, out);
}

void blaze_sample(const float* x, int64_t height, int64_t width, int64_t channels, const float* matrix, int64_t side,
                  float* out) {
    const Picture picture{x, height, width, channels};
    for (int64_t row = 0; row < side; ++row)
        for (int64_t column = 0; column < side; ++column, out += channels) {
            const float u = static_cast<float>(column) + 0.5f, v = static_cast<float>(row) + 0.5f;
            const float px = matrix[0] * u + matrix[1] * v + matrix[2] - 0.5f;
            const float py = matrix[3] * u + matrix[4] * v + matrix[5] - 0.5f;
            // written so that not-a-number is outside
            if (!(px >= 0 && px <= static_cast<float>(width - 1) && py >= 0 && py <= static_cast<float>(height - 1))) {
                std::fill_n(out, channels, 0.f);
                continue;
            }
            const auto left = static_cast<int64_t>(px), top = static_cast<int64_t>(py);
            const float right = px - static_cast<float>(left), low = py - static_cast<float>(top);
            const int64_t beside = left + 1 < width ? channels : 0, below = top + 1 < height ? width * channels : 0;
            const float* p = picture.at(top, left);
            for (int64_t c = 0; c < channels; c += kLanes, p += kLanes) {
                const Vec upper = load(p) + right * (load(p + beside) - load(p));
                const Vec lower = load(p + below) + right * (load(p + below + beside) - load(p + below));
                store(out + c, upper + low * (lower - upper));
            }
        }
}

}  // namespace avatarkit::AK_ISA
