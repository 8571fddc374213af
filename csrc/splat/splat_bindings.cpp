#include <nanobind/stl/optional.h>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "anchors/rigged_arrays.h"
#include "common/arrays.h"
#include "splat/splat.h"

namespace {

using namespace avatarkit;

// Pixel size and pinhole (fx, fy, cx, cy) of a scene without splats.
SplatScene seen_by(const nb::tuple& camera, size_t height, size_t width, double dilation) {
    const auto of = [&](int i) { return nb::cast<float>(camera[i]); };
    return {nullptr, nullptr, nullptr, nullptr, {}, 0, of(0), of(1), of(2), of(3), static_cast<int>(height),
            static_cast<int>(width), static_cast<float>(dilation)};
}

SplatScene scene_of(const Floats& mean, const Floats& covariance, const Floats& color, const Floats& opacity,
                    const nb::tuple& camera, size_t height, size_t width, double dilation) {
    SplatScene scene = seen_by(camera, height, width, dilation);
    scene.mean = mean.data(), scene.covariance = covariance.data(), scene.color = color.data();
    scene.opacity = opacity.data(), scene.count = static_cast<int64_t>(mean.shape(0));
    return scene;
}

SplatScene scene_of(const Rigged& rigged, const nb::tuple& camera, size_t height, size_t width, double dilation) {
    SplatScene scene = seen_by(camera, height, width, dilation);
    scene.rigged = rigged, scene.count = rigged.count;
    return scene;
}

// A frame out of those that are free, which goes back to them with its owner.
class FrameLease {
  public:
    FrameLease() {
        const std::lock_guard<std::mutex> guard(mutex());
        if (free().empty()) {
            frame_ = std::make_unique<SplatFrame>();
        } else {
            frame_ = std::move(free().back());
            free().pop_back();
        }
    }
    ~FrameLease() {
        const std::lock_guard<std::mutex> guard(mutex());
        free().push_back(std::move(frame_));
    }
    FrameLease(const FrameLease&) = delete;
    FrameLease& operator=(const FrameLease&) = delete;
    SplatFrame& operator*() const { return *frame_; }

    // Splats summed over tiles.
    int64_t entries() const {
        return frame_->tiles == nullptr ? 0 : frame_->tiles[static_cast<int64_t>(frame_->across) * frame_->down];
    }

  private:
    static std::mutex& mutex() {
        static std::mutex one;
        return one;
    }
    static std::vector<std::unique_ptr<SplatFrame>>& free() {
        static std::vector<std::unique_ptr<SplatFrame>> frames;
        return frames;
    }
    std::unique_ptr<SplatFrame> frame_;
};

// Residuals of one of the three types; halves come as their bits.
SplatResiduals residuals_of(const nb::ndarray<nb::c_contig, nb::device::cpu>& array,
                            const std::optional<Floats>& scale) {
    SplatResiduals r{nullptr, nullptr, nullptr, scale ? scale->data() : nullptr, static_cast<int64_t>(array.shape(0)),
                     static_cast<int64_t>(array.shape(1)), static_cast<int64_t>(array.shape(2))};
    if (array.dtype() == nb::dtype<float>()) r.floats = static_cast<const float*>(array.data());
    else if (array.dtype() == nb::dtype<int8_t>()) r.bytes = static_cast<const int8_t*>(array.data());
    else if (array.dtype() == nb::dtype<int16_t>()) r.halves = static_cast<const uint16_t*>(array.data());
    else throw nb::type_error("residuals must be float32, int8 or the int16 bits of float16");
    return r;
}

}  // namespace

void bind_splat(nanobind::module_& m) {
    nb::class_<FrameLease>(m, "SplatFrame", "Memory of one image of splats, see csrc/splat/splat.h.")
        .def(nb::init<>())
        .def_prop_ro("visible", [](const FrameLease& frame) { return (*frame).visible; })
        .def_prop_ro("entries", &FrameLease::entries, "Splats summed over tiles.");
    m.def("splat_image", [](FrameLease& frame, Floats mean, Floats covariance, Floats color, Floats opacity,
                            nb::tuple camera, double dilation, Floats image) {
        const SplatScene scene = scene_of(mean, covariance, color, opacity, camera, image.shape(0), image.shape(1),
                                          dilation);
        nb::gil_scoped_release release;
        AK_CALL(splat_arrange, scene, *frame);
        AK_CALL(splat_image, scene, *frame, image.data());
    });
    m.def("splat_backward", [](FrameLease& frame, Floats mean, Floats covariance, Floats color, Floats opacity,
                               nb::tuple camera, double dilation, Floats image, Floats grad_image, Floats grad_mean,
                               Floats grad_covariance, Floats grad_color, Floats grad_opacity) {
        const SplatScene scene = scene_of(mean, covariance, color, opacity, camera, image.shape(0), image.shape(1),
                                          dilation);
        nb::gil_scoped_release release;
        const SplatGradients gradients{grad_mean.data(), grad_covariance.data(), grad_color.data(),
                                       grad_opacity.data(), nullptr};
        AK_CALL(splat_backward, scene, *frame, image.data(), grad_image.data(), gradients, SplatBodies{});
    });
    // The same of rigged Gaussians (avatarkit/ops/figure.py).
    m.def("figure_image", [](FrameLease& frame, Floats gaussians, Floats bones, Ints bone, Floats visibility,
                             nb::tuple camera, double dilation, Floats image) {
        const SplatScene scene = scene_of(rigged_of(gaussians, bones, bone, visibility), camera, image.shape(0),
                                          image.shape(1), dilation);
        nb::gil_scoped_release release;
        AK_CALL(splat_arrange, scene, *frame);
        AK_CALL(splat_image, scene, *frame, image.data());
    });
    m.def("figure_compose", [](FrameLease& frame, Floats gaussians, Floats bones, Ints bone, Floats visibility,
                               nb::tuple camera, double dilation, Bytes background, Bytes pixels) {
        const SplatScene scene = scene_of(rigged_of(gaussians, bones, bone, visibility), camera, pixels.shape(0),
                                          pixels.shape(1), dilation);
        nb::gil_scoped_release release;
        AK_CALL(splat_arrange, scene, *frame);
        AK_CALL(splat_compose, scene, *frame, background.data(), pixels.data());
    });
    m.def("figure_backward", [](FrameLease& frame, Floats gaussians, Floats bones, Ints bone, Floats visibility,
                                nb::tuple camera, double dilation, Floats image, Floats grad_image, Floats share,
                                Floats gradient, Floats wrench) {
        const SplatScene scene = scene_of(rigged_of(gaussians, bones, bone, visibility), camera, image.shape(0),
                                          image.shape(1), dilation);
        const SplatGradients gradients{nullptr, nullptr, nullptr, nullptr, gradient.data()};
        const SplatBodies bodies{share.data(), static_cast<int64_t>(share.shape(0)), wrench.data()};
        nb::gil_scoped_release release;
        AK_CALL(splat_backward, scene, *frame, image.data(), grad_image.data(), gradients, bodies);
    });
    using Anything = nb::ndarray<nb::c_contig, nb::device::cpu>;
    m.def("splat_blend", [](Floats base, Anything residual, std::optional<Floats> scale, Floats coefficients,
                            Floats out) {
        const SplatResiduals residuals = residuals_of(residual, scale);
        nb::gil_scoped_release release;
        AK_CALL(splat_blend, base.data(), static_cast<int64_t>(base.shape(0)), residuals, coefficients.data(),
                out.data());
    }, nb::arg("base"), nb::arg("residual"), nb::arg("scale").none(), nb::arg("coefficients"), nb::arg("out"));
    m.def("splat_blend_coefficients", [](Anything residual, std::optional<Floats> scale, Floats gradient,
                                         Floats out) {
        const SplatResiduals residuals = residuals_of(residual, scale);
        nb::gil_scoped_release release;
        AK_CALL(splat_blend_coefficients, residuals, gradient.data(), out.data());
    }, nb::arg("residual"), nb::arg("scale").none(), nb::arg("gradient"), nb::arg("out"));
}
