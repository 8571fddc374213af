#include "composite/composite.h"

#include <algorithm>

#include "common/simd.h"
#include "common/threads.h"

namespace avatarkit::AK_ISA {
namespace {

// What passes each sample of a ray: exp(-density * step).
void passing(const float* density, int64_t count, float step, float* out) {
    for (int64_t i = 0; i < count; i += kLanes) {
        if (count - i >= kLanes) {
            store(out + i, exponential(load(density + i) * splat(-step)));
            continue;
        }
        float padded[kLanes] = {};
        std::copy(density + i, density + count, padded);
        store(padded, exponential(load(padded) * splat(-step)));
        std::copy(padded, padded + (count - i), out + i);
    }
}

int64_t longest_ray(const RaySamples& in) {
    int64_t longest = 0;
    for (int64_t r = 0; r < in.rays; ++r) longest = std::max(longest, in.ray_offsets[r + 1] - in.ray_offsets[r]);
    return longest;
}

void forward_ray(const RaySamples& in, const RaySums& out, int64_t ray, float* pass) {
    const int64_t first = in.ray_offsets[ray], count = in.ray_offsets[ray + 1] - first;
    passing(in.density + first, count, in.step, pass);
    float transmittance = 1.f, color[3] = {}, alpha = 0.f, depth = 0.f, spread = 0.f;
    int64_t i = 0;
    for (; i < count && transmittance >= in.minimum_transmittance; ++i) {
        const float weight = transmittance * (1.f - pass[i]), t = in.t[first + i];
        if (in.distortion) spread += weight * (2.f * (t * alpha - depth) + weight * in.step * (1.f / 3.f));
        for (int c = 0; c < 3; ++c) color[c] += weight * in.rgb[(first + i) * 3 + c];
        alpha += weight;
        depth += weight * t;
        out.weights[first + i] = weight;
        transmittance *= pass[i];
    }
    std::fill(out.weights + first + i, out.weights + first + count, 0.f);
    std::copy(color, color + 3, out.color + ray * 3);
    out.alpha[ray] = alpha;
    out.depth[ray] = depth;
    if (in.distortion) out.distortion[ray] = spread;
}

// With w_i = T_i (1 - e_i), T_{i+1} = T_i e_i, e_i = exp(-density_i step), and g_i the gradient of w_i:
// gradient of density_i = step (T_{i+1} g_i - sum_{j>i} w_j g_j).
void backward_ray(const RaySamples& in, const float* weights, const RayGradients& gradients, int64_t ray,
                  float* pass, float* grad_density, float* grad_rgb) {
    const int64_t first = in.ray_offsets[ray], count = in.ray_offsets[ray + 1] - first;
    const float *w = weights + first, *t = in.t + first, *color = gradients.color + ray * 3;
    passing(in.density + first, count, in.step, pass);
    // From here `pass` holds the transmittance behind each sample.
    float transmittance = 1.f, alpha = 0.f, depth = 0.f;
    int64_t alive = 0;
    for (; alive < count && transmittance >= in.minimum_transmittance; ++alive) {
        transmittance *= pass[alive];
        pass[alive] = transmittance;
        alpha += w[alive];
        depth += w[alive] * t[alive];
    }
    std::fill(grad_density + first + alive, grad_density + first + count, 0.f);
    std::fill(grad_rgb + (first + alive) * 3, grad_rgb + (first + count) * 3, 0.f);
    float behind = 0.f, alpha_behind = 0.f, depth_behind = 0.f;
    for (int64_t i = alive - 1; i >= 0; --i) {
        const float* rgb = in.rgb + (first + i) * 3;
        float g = color[0] * rgb[0] + color[1] * rgb[1] + color[2] * rgb[2] + gradients.alpha[ray] +
                  gradients.depth[ray] * t[i];
        if (in.distortion) {
            const float alpha_before = alpha - alpha_behind - w[i], depth_before = depth - depth_behind - w[i] * t[i];
            g += 2.f * gradients.distortion[ray] *
                 (t[i] * (alpha_before - alpha_behind) - depth_before + depth_behind + w[i] * in.step * (1.f / 3.f));
            alpha_behind += w[i];
            depth_behind += w[i] * t[i];
        }
        grad_density[first + i] = in.step * (pass[i] * g - behind);
        behind += w[i] * g;
        for (int c = 0; c < 3; ++c) grad_rgb[(first + i) * 3 + c] = w[i] * color[c];
    }
}

}  // namespace

void composite(const RaySamples& in, const RaySums& out) {
    const int64_t longest = longest_ray(in);
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> pass(longest + 1);
#pragma omp for schedule(dynamic, 64)
        for (int64_t ray = 0; ray < in.rays; ++ray) forward_ray(in, out, ray, pass);
    }
}

void composite_backward(const RaySamples& in, const float* weights, const RayGradients& gradients,
                        float* grad_density, float* grad_rgb) {
    const int64_t longest = longest_ray(in);
    const int threads = thread_count();
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> pass(longest + 1);
#pragma omp for schedule(dynamic, 64)
        for (int64_t ray = 0; ray < in.rays; ++ray)
            backward_ray(in, weights, gradients, ray, pass, grad_density, grad_rgb);
    }
}

}  // namespace avatarkit::AK_ISA
