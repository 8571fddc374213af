// Real spherical harmonics of degrees 0 to 3 (avatarkit/ops/sh.py).
#pragma once

namespace avatarkit::AK_ISA {

// The 16 of the unit vector `d`.
inline void harmonics_of(const float* d, float* out) {
    const float x = d[0], y = d[1], z = d[2], xx = x * x, yy = y * y, zz = z * z;
    out[0] = 0.28209479177387814f;
    out[1] = -0.48860251190291987f * y;
    out[2] = 0.48860251190291987f * z;
    out[3] = -0.48860251190291987f * x;
    out[4] = 1.0925484305920792f * x * y;
    out[5] = -1.0925484305920792f * y * z;
    out[6] = 0.94617469575755997f * zz - 0.31539156525251999f;
    out[7] = -1.0925484305920792f * x * z;
    out[8] = 0.54627421529603959f * (xx - yy);
    out[9] = 0.59004358992664352f * y * (yy - 3.f * xx);
    out[10] = 2.8906114426405538f * x * y * z;
    out[11] = 0.45704579946446572f * y * (1.f - 5.f * zz);
    out[12] = 0.3731763325901154f * z * (5.f * zz - 3.f);
    out[13] = 0.45704579946446572f * x * (1.f - 5.f * zz);
    out[14] = 1.4453057213202769f * z * (xx - yy);
    out[15] = 0.59004358992664352f * x * (3.f * yy - xx);
}

}  // namespace avatarkit::AK_ISA
