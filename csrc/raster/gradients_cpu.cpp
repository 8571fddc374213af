#include <algorithm>
#include <cstring>

#include "raster/raster.h"

namespace avatarkit::AK_ISA {
namespace {

// Work is cut into a number of chunks that depends on the shapes alone, each with its own gradient buffer, and the
// buffers are added in order: the same bits for any number of threads, and bounded memory.
int64_t chunk_count(int64_t floats) {
    constexpr int64_t budget = 1 << 24;
    return std::clamp<int64_t>(budget / std::max<int64_t>(floats, 1), 1, 8);
}

template <class Work>
void accumulate(int64_t items, int64_t floats, float* total, const Work& work) {
    const int64_t chunks = chunk_count(floats);
    std::vector<std::vector<float>> buffer(chunks);
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = 0; c < chunks; ++c) {
        buffer[c].assign(floats, 0.f);
        work(items * c / chunks, items * (c + 1) / chunks, buffer[c].data());
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < floats; ++i) {
        float sum = 0;
        for (int64_t c = 0; c < chunks; ++c) sum += buffer[c][i];
        total[i] = sum;
    }
}

// What the pixels of one triangle add to the gradients of its corners [3][3]. The screen barycentrics l move with the
// corners by dl_i / dv_j = -l_j grad(l_i), grad(l_i) being the slope of l_i over the image.
class CornerGradient {
  public:
    CornerGradient(const float* const v[3], bool perspective) : perspective_(perspective) {
        const float area = (v[1][0] - v[0][0]) * (v[2][1] - v[0][1]) - (v[1][1] - v[0][1]) * (v[2][0] - v[0][0]);
        for (int i = 0; i < 3; ++i) {
            const float *a = v[(i + 1) % 3], *c = v[(i + 2) % 3];
            slope_x_[i] = (a[1] - c[1]) / area;
            slope_y_[i] = (c[0] - a[0]) / area;
            z_[i] = v[i][2];
            inverse_z_[i] = 1.f / v[i][2];
        }
    }

    // b: barycentrics, gb: their gradients, gd: that of the depth.
    void add(const float* b, const float* gb, float gd, float out[9]) const {
        float l[3], gl[3];
        if (perspective_) {  // b_i = l_i / z_i / S, depth = 1 / S, S = sum_j l_j / z_j
            const float depth = b[0] * z_[0] + b[1] * z_[1] + b[2] * z_[2], inverse = 1.f / depth;
            const float mean = gb[0] * b[0] + gb[1] * b[1] + gb[2] * b[2] + gd * depth;
            for (int i = 0; i < 3; ++i) {
                l[i] = b[i] * z_[i] * inverse;
                gl[i] = (gb[i] - mean) * depth * inverse_z_[i];
                out[3 * i + 2] -= gl[i] * l[i] * inverse_z_[i];
            }
        } else {
            for (int i = 0; i < 3; ++i) {
                l[i] = b[i];
                gl[i] = gb[i] + gd * z_[i];
                out[3 * i + 2] += gd * b[i];
            }
        }
        const float gx = gl[0] * slope_x_[0] + gl[1] * slope_x_[1] + gl[2] * slope_x_[2];
        const float gy = gl[0] * slope_y_[0] + gl[1] * slope_y_[1] + gl[2] * slope_y_[2];
        for (int j = 0; j < 3; ++j) {
            out[3 * j] -= l[j] * gx;
            out[3 * j + 1] -= l[j] * gy;
        }
    }

  private:
    bool perspective_;
    float slope_x_[3], slope_y_[3], z_[3], inverse_z_[3];
};

// What pixels first to last add to the gradients of attributes: runs of one triangle are added up before they are
// scattered. kChannels 0: any number, `channels`.
template <int kChannels>
void attribute_gradients(const int32_t* triangles, int64_t channels, const int32_t* face, const float* barycentric,
                         const float* grad_out, int64_t first, int64_t last, float* sum) {
    constexpr int64_t most = kChannels > 0 ? kChannels : 32;
    const int64_t n = kChannels > 0 ? kChannels : channels;
    for (int64_t p = first; p < last;) {
        const int32_t f = face[p];
        if (f < 0) {
            ++p;
            continue;
        }
        const int32_t* t = triangles + 3 * static_cast<int64_t>(f);
        int64_t end = p + 1;
        while (end < last && face[end] == f) ++end;
        for (int64_t begin = 0; begin < n; begin += most) {
            const int64_t width = kChannels > 0 ? kChannels : std::min(most, n - begin);
            float part[3][most] = {};
            for (int64_t q = p; q < end; ++q)
                for (int i = 0; i < 3; ++i)
                    for (int64_t c = 0; c < width; ++c)
                        part[i][c] += barycentric[3 * q + i] * grad_out[q * n + begin + c];
            for (int i = 0; i < 3; ++i)
                for (int64_t c = 0; c < width; ++c) sum[t[i] * n + begin + c] += part[i][c];
        }
        p = end;
    }
}

struct Texels {
    int64_t x0, x1, y0, y1;
    float fx, fy;
    bool inside_x, inside_y;  // false where clamping stops the gradient

    Texels(const float* uv, int64_t rows, int64_t columns) {
        const float right = static_cast<float>(columns - 1), bottom = static_cast<float>(rows - 1);
        const float u = uv[0] * static_cast<float>(columns) - 0.5f;
        const float v = (1.f - uv[1]) * static_cast<float>(rows) - 0.5f;
        inside_x = u > 0 && u < right;
        inside_y = v > 0 && v < bottom;
        const float x = u > 0 ? std::min(u, right) : 0.f, y = v > 0 ? std::min(v, bottom) : 0.f;
        x0 = static_cast<int64_t>(x);
        y0 = static_cast<int64_t>(y);
        x1 = std::min(x0 + 1, columns - 1);
        y1 = std::min(y0 + 1, rows - 1);
        fx = x - static_cast<float>(x0);
        fy = y - static_cast<float>(y0);
    }
};

template <int kChannels>
void interpolate_rows(const float* attributes, const int32_t* triangles, int64_t channels, const int32_t* face,
                      const float* b, int64_t pixels, float* out) {
    const int64_t n = kChannels > 0 ? kChannels : channels;
    for (int64_t p = 0; p < pixels; ++p) {
        float* o = out + p * n;
        if (face[p] < 0) {
            std::memset(o, 0, sizeof(float) * n);
            continue;
        }
        const int32_t* t = triangles + 3 * static_cast<int64_t>(face[p]);
        const float* a0 = attributes + t[0] * n;
        const float* a1 = attributes + t[1] * n;
        const float* a2 = attributes + t[2] * n;
        for (int64_t c = 0; c < n; ++c) o[c] = b[3 * p] * a0[c] + b[3 * p + 1] * a1[c] + b[3 * p + 2] * a2[c];
    }
}

template <int kChannels>
void texture_rows(const float* texture, int64_t rows, int64_t columns, int64_t channels, const float* uv,
                  const int32_t* face, int64_t first, int64_t last, float* out) {
    const int64_t n = kChannels > 0 ? kChannels : channels;
    for (int64_t p = first; p < last; ++p) {
        float* o = out + p * n;
        if (face != nullptr && face[p] < 0) {
            std::memset(o, 0, sizeof(float) * n);
            continue;
        }
        const Texels t(uv + 2 * p, rows, columns);
        const float* a = texture + (t.y0 * columns + t.x0) * n;
        const float* b = texture + (t.y0 * columns + t.x1) * n;
        const float* c = texture + (t.y1 * columns + t.x0) * n;
        const float* d = texture + (t.y1 * columns + t.x1) * n;
        for (int64_t i = 0; i < n; ++i) {
            const float top = a[i] + (b[i] - a[i]) * t.fx, bottom = c[i] + (d[i] - c[i]) * t.fx;
            o[i] = top + (bottom - top) * t.fy;
        }
    }
}

}  // namespace

void rasterize_backward(const float* vertices, const int32_t* triangles, const RasterShape& shape, bool perspective,
                        const int32_t* face, const float* barycentric, const float* grad_barycentric,
                        const float* grad_depth, float* grad_vertices) {
    const int64_t pixels = shape.height * shape.width, floats = shape.vertices * 3;
    for (int64_t image = 0; image < shape.images; ++image) {
        const float* points = vertices + image * floats;
        accumulate(pixels, floats, grad_vertices + image * floats, [&](int64_t first, int64_t last, float* sum) {
            for (int64_t p = image * pixels + first; p < image * pixels + last;) {
                const int32_t f = face[p];
                if (f < 0) {
                    ++p;
                    continue;
                }
                const int32_t* t = triangles + 3 * static_cast<int64_t>(f);
                const float* v[3];
                for (int i = 0; i < 3; ++i) v[i] = points + 3 * static_cast<int64_t>(t[i]);
                float g[9] = {};
                const CornerGradient corners(v, perspective);
                for (; p < image * pixels + last && face[p] == f; ++p)
                    corners.add(barycentric + 3 * p, grad_barycentric + 3 * p,
                                grad_depth == nullptr ? 0.f : grad_depth[p], g);
                for (int i = 0; i < 3; ++i)
                    for (int k = 0; k < 3; ++k) sum[3 * static_cast<int64_t>(t[i]) + k] += g[3 * i + k];
            }
        });
    }
}

void interpolate_forward(const float* attributes, const int32_t* triangles, const RasterShape& shape,
                         int64_t channels, bool per_image, const int32_t* face, const float* barycentric, float* out) {
    constexpr int64_t block = 4096;  // of pixels, not rows: lists of pixels come as images of one row
    const int64_t pixels = shape.height * shape.width, blocks = (pixels + block - 1) / block;
    const auto run = channels == 1   ? interpolate_rows<1>
                     : channels == 2 ? interpolate_rows<2>
                     : channels == 3 ? interpolate_rows<3>
                     : channels == 4 ? interpolate_rows<4>
                     : channels == 8 ? interpolate_rows<8>
                     : channels == 10 ? interpolate_rows<10>
                                     : interpolate_rows<0>;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < shape.images * blocks; ++i) {
        const int64_t image = i / blocks, first = i % blocks * block, p = image * pixels + first;
        const float* a = attributes + (per_image ? image * shape.vertices * channels : 0);
        run(a, triangles, channels, face + p, barycentric + 3 * p, std::min(block, pixels - first), out + p * channels);
    }
}

void interpolate_backward(const float* attributes, const int32_t* triangles, const RasterShape& shape,
                          int64_t channels, bool per_image, const int32_t* face, const float* barycentric,
                          const float* grad_out, float* grad_attributes, float* grad_barycentric) {
    const int64_t pixels = shape.height * shape.width, floats = shape.vertices * channels;
    if (grad_barycentric != nullptr) {
#pragma omp parallel for schedule(static)
        for (int64_t p = 0; p < shape.images * pixels; ++p) {
            const float* a = attributes + (per_image ? p / pixels * floats : 0);
            const float* g = grad_out + p * channels;
            for (int i = 0; i < 3; ++i) {
                float sum = 0;
                if (face[p] >= 0) {
                    const float* corner = a + triangles[3 * static_cast<int64_t>(face[p]) + i] * channels;
                    for (int64_t c = 0; c < channels; ++c) sum += g[c] * corner[c];
                }
                grad_barycentric[3 * p + i] = sum;
            }
        }
    }
    if (grad_attributes == nullptr) return;
    const int64_t groups = per_image ? shape.images : 1, per_group = shape.images * pixels / std::max<int64_t>(groups, 1);
    for (int64_t group = 0; group < groups; ++group) {
        const int64_t origin = group * per_group;
        accumulate(per_group, floats, grad_attributes + group * floats, [&](int64_t first, int64_t last, float* sum) {
            const auto run = channels == 3    ? attribute_gradients<3>
                             : channels == 8  ? attribute_gradients<8>
                             : channels == 10 ? attribute_gradients<10>
                                              : attribute_gradients<0>;
            run(triangles, channels, face, barycentric, grad_out, origin + first, origin + last, sum);
        });
    }
}

void texture_forward(const float* texture, int64_t rows, int64_t columns, int64_t channels, const float* uv,
                     const int32_t* face, int64_t samples, float* out) {
    constexpr int64_t block = 4096;
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < samples; first += block) {
        const auto run = channels == 1   ? texture_rows<1>
                         : channels == 3 ? texture_rows<3>
                         : channels == 4 ? texture_rows<4>
                                         : texture_rows<0>;
        run(texture, rows, columns, channels, uv, face, first, std::min(first + block, samples), out);
    }
}

void texture_backward(const float* texture, int64_t rows, int64_t columns, int64_t channels, const float* uv,
                      const int32_t* face, int64_t samples, const float* grad_out, float* grad_texture,
                      float* grad_uv) {
    if (grad_uv != nullptr) {
#pragma omp parallel for schedule(static)
        for (int64_t p = 0; p < samples; ++p) {
            float gx = 0, gy = 0;
            if (face == nullptr || face[p] >= 0) {
                const Texels t(uv + 2 * p, rows, columns);
                const float* a = texture + (t.y0 * columns + t.x0) * channels;
                const float* b = texture + (t.y0 * columns + t.x1) * channels;
                const float* c = texture + (t.y1 * columns + t.x0) * channels;
                const float* d = texture + (t.y1 * columns + t.x1) * channels;
                for (int64_t i = 0; i < channels; ++i) {
                    const float g = grad_out[p * channels + i];
                    gx += g * ((b[i] - a[i]) * (1 - t.fy) + (d[i] - c[i]) * t.fy);
                    gy += g * ((c[i] - a[i]) * (1 - t.fx) + (d[i] - b[i]) * t.fx);
                }
                gx = t.inside_x ? gx : 0.f;
                gy = t.inside_y ? gy : 0.f;
            }
            grad_uv[2 * p] = gx * static_cast<float>(columns);
            grad_uv[2 * p + 1] = -gy * static_cast<float>(rows);
        }
    }
    if (grad_texture == nullptr) return;
    accumulate(samples, rows * columns * channels, grad_texture, [&](int64_t first, int64_t last, float* sum) {
        for (int64_t p = first; p < last; ++p) {
            if (face != nullptr && face[p] < 0) continue;
            const Texels t(uv + 2 * p, rows, columns);
            for (int64_t i = 0; i < channels; ++i) {
                const float g = grad_out[p * channels + i];
                sum[(t.y0 * columns + t.x0) * channels + i] += g * (1 - t.fx) * (1 - t.fy);
                sum[(t.y0 * columns + t.x1) * channels + i] += g * t.fx * (1 - t.fy);
                sum[(t.y1 * columns + t.x0) * channels + i] += g * (1 - t.fx) * t.fy;
                sum[(t.y1 * columns + t.x1) * channels + i] += g * t.fx * t.fy;
            }
        }
    });
}

}  // namespace avatarkit::AK_ISA
