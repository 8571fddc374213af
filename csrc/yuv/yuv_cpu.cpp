#include <algorithm>

#include "common/pixels.h"
#include "common/simd.h"
#include "yuv/yuv.h"

namespace avatarkit::AK_ISA {
namespace {

// Pixels from which threads pay: those of smaller frames wait longer for one another, where other work goes on, than
// one of them needs.
constexpr int64_t kShared = 1 << 20;

constexpr float kLuma = 219.f / 255, kChroma = 224.f / 255, kBlack = 16.f, kGray = 128.f;

// Rows of whole vectors, so that loops over pixels need no tails.
int64_t padded(int64_t width) { return (width + kLanes - 1) / kLanes * kLanes; }

uint8_t level(float v) { return static_cast<uint8_t>(std::min(std::max(v, 0.f), 255.f) + 0.5f); }

}  // namespace

void yuv_to_rgb(const uint8_t* planes, int64_t height, int64_t width, float red, float blue, uint8_t* rgb) {
    const int64_t rows = (height + 1) / 2, columns = (width + 1) / 2;
    const uint8_t* cb = planes + height * width;
    const uint8_t* cr = cb + rows * columns;
    const float green = 1 - red - blue;
    const float to_red = 2 * (1 - red) / kChroma, to_blue = 2 * (1 - blue) / kChroma;
    const float cr_to_green = -to_red * red / green, cb_to_green = -to_blue * blue / green;
#pragma omp parallel if (height * width >= kShared)
    {
        Scratch<float> add(3 * (padded(width) + 2));  // what chroma adds to the three colors of a row
        float* const add_red = add;
        float* const add_green = add_red + padded(width) + 2;
        float* const add_blue = add_green + padded(width) + 2;
        std::fill_n(add_red, 3 * (padded(width) + 2), 0.f);
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < rows; ++pair) {
            const uint8_t* u = cb + pair * columns;
            const uint8_t* v = cr + pair * columns;
            for (int64_t i = 0; i < columns; ++i) {
                const float b = static_cast<float>(u[i]) - kGray, r = static_cast<float>(v[i]) - kGray;
                add_red[2 * i] = add_red[2 * i + 1] = to_red * r;
                add_green[2 * i] = add_green[2 * i + 1] = cb_to_green * b + cr_to_green * r;
                add_blue[2 * i] = add_blue[2 * i + 1] = to_blue * b;
            }
            for (int64_t row = 2 * pair; row < std::min(2 * pair + 2, height); ++row)
                for (int64_t x = 0; x < width; x += kLanes) {
                    const int64_t count = std::min<int64_t>(kLanes, width - x);
                    const Vec y = (load_bytes(planes + row * width + x, count) - kBlack) * (1 / kLuma);
                    store_rgb(rgb + 3 * (row * width + x), y + load(add_red + x), y + load(add_green + x),
                              y + load(add_blue + x), count);
                }
        }
    }
}

void rgb_to_yuv(const uint8_t* rgb, int64_t height, int64_t width, float red, float blue, uint8_t* planes) {
    const int64_t rows = (height + 1) / 2, columns = (width + 1) / 2;
    uint8_t* cb = planes + height * width;
    uint8_t* cr = cb + rows * columns;
    const float green = 1 - red - blue;
#pragma omp parallel if (height * width >= kShared)
    {
        // Blue and red minus luma, summed over the rows of a pair.
        Scratch<float> apart(2 * (padded(width) + 2));
        float* const blues = apart;
        float* const reds = blues + padded(width) + 2;
#pragma omp for schedule(static)
        for (int64_t pair = 0; pair < rows; ++pair) {
            std::fill_n(blues, 2 * (padded(width) + 2), 0.f);
            const int64_t last = std::min(2 * pair + 2, height);
            for (int64_t row = 2 * pair; row < last; ++row)
                for (int64_t x = 0; x < width; x += kLanes) {
                    const int64_t count = std::min<int64_t>(kLanes, width - x);
                    const Color color = load_rgb(rgb + 3 * (row * width + x), count);
                    const Vec luma = red * color.red + green * color.green + blue * color.blue;
                    store_bytes(planes + row * width + x, kBlack + kLuma * luma, count);
                    store(blues + x, load(blues + x) + (color.blue - luma));
                    store(reds + x, load(reds + x) + (color.red - luma));
                }
            if (width % 2) {  // the last column stands for two
                blues[width] = blues[width - 1];
                reds[width] = reds[width - 1];
            }
            const float share = kChroma / static_cast<float>(2 * (last - 2 * pair));
            const float to_cb = share / (2 * (1 - blue)), to_cr = share / (2 * (1 - red));
            for (int64_t i = 0; i < columns; ++i) {
                cb[pair * columns + i] = level(kGray + to_cb * (blues[2 * i] + blues[2 * i + 1]));
                cr[pair * columns + i] = level(kGray + to_cr * (reds[2 * i] + reds[2 * i + 1]));
            }
        }
    }
}

}  // namespace avatarkit::AK_ISA
