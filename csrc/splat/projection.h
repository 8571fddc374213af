// EWA projection of a vector of splats, forward and backward. Include only in *_cpu.cpp.
#pragma once

#include "splat/sources.h"

namespace avatarkit::AK_ISA {

struct Camera {
    Vec fx, fy, cx, cy, dilation;
    Vec least_u, most_u, least_v, most_v;

    explicit Camera(const SplatScene& s)
        : fx(splat(s.fx)), fy(splat(s.fy)), cx(splat(s.cx)), cy(splat(s.cy)), dilation(splat(s.dilation)) {
        const float w = static_cast<float>(s.width), h = static_cast<float>(s.height);
        const float border_u = kMargin * 0.5f * w / s.fx, border_v = kMargin * 0.5f * h / s.fy;
        least_u = splat(-s.cx / s.fx - border_u), most_u = splat((w - s.cx) / s.fx + border_u);
        least_v = splat(-s.cy / s.fy - border_v), most_v = splat((h - s.cy) / s.fy + border_v);
    }
};

// Image covariance J S J' + dilation, with J = (ax 0 bx; 0 ay by) and its slopes kept near the image.
struct Projection {
    Vec x, y, z, inverse_z, u, v, slope_u, slope_v;
    Vec ax, ay, bx, by;
    const Vec* s;                  // covariance in space
    Vec xx, xy, yy, inverse_area;  // covariance in the image, 1 / determinant

    Projection(const Carried& splats, const Camera& c)
        : x(splats.mean[0]), y(splats.mean[1]), z(splats.mean[2]), s(splats.covariance) {
        inverse_z = splat(1.f) / z;
        u = x * inverse_z, v = y * inverse_z;
        slope_u = smaller(larger(u, c.least_u), c.most_u);
        slope_v = smaller(larger(v, c.least_v), c.most_v);
        ax = c.fx * inverse_z, ay = c.fy * inverse_z;
        bx = -ax * slope_u, by = -ay * slope_v;
        const Vec two = splat(2.f);
        xx = ax * ax * s[0] + two * ax * bx * s[2] + bx * bx * s[5] + c.dilation;
        xy = ax * (ay * s[1] + by * s[2]) + bx * (ay * s[4] + by * s[5]);
        yy = ay * ay * s[3] + two * ay * by * s[4] + by * by * s[5] + c.dilation;
        inverse_area = splat(1.f) / (xx * yy - xy * xy);
    }
};

}  // namespace avatarkit::AK_ISA
