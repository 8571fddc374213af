// Where splats come from: arrays of them, or Gaussians carried by bones. Both give vectors of neighbors in the scene's
// order, and take their gradients. Include only in *_cpu.cpp.
#pragma once

#include "anchors/carrying.h"
#include "splat/splat.h"

namespace avatarkit::AK_ISA {

// Gradients of all splats are written, those of what is not seen as zeros.
struct FreeSplats {
    Carried value;
    Lanes lanes;

    FreeSplats(const SplatScene& scene, int64_t at) : lanes(at, scene.count) {
        for (int i = 0; i < 3; ++i) {
            value.mean[i] = fetch_struct(scene.mean, 3, i, lanes);
            value.color[i] = fetch_struct(scene.color, 3, i, lanes);
        }
        for (int k = 0; k < 6; ++k) value.covariance[k] = fetch_struct(scene.covariance, 6, k, lanes);
        value.opacity = fetch(scene.opacity, lanes);
    }
    void put(const SplatScene&, const Carried& g, const SplatGradients& out) const {
        for (int i = 0; i < 3; ++i) {
            put_struct(out.mean, 3, i, lanes, g.mean[i]);
            put_struct(out.color, 3, i, lanes, g.color[i]);
        }
        for (int k = 0; k < 6; ++k) put_struct(out.covariance, 6, k, lanes, g.covariance[k]);
        AK_ISA::put(out.opacity, lanes, g.opacity);
    }
};

// Their colors are kept within [0, 1].
struct CarriedSplats {
    Carried value;
    Lanes lanes;
    Shape shape;

    CarriedSplats(const SplatScene& scene, int64_t at) : lanes(at, scene.count), shape(shape_of(scene.rigged, lanes)) {
        value = carried(scene.rigged, shape, lanes);
        for (int i = 0; i < 3; ++i) {
            const Vec color = value.color[i], kept = smaller(larger(color, Vec{}), splat(1.f));
            inside[i] = color == kept;
            value.color[i] = kept;
        }
    }
    void put(const SplatScene& scene, Carried g, const SplatGradients& out) const {
        for (int i = 0; i < 3; ++i) g.color[i] = select(inside[i], g.color[i], Vec{});
        put_gradient(scene.rigged, shape, lanes, g, out.gaussians);
    }

  private:
    VecInt inside[3];
};

}  // namespace avatarkit::AK_ISA
