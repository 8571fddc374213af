// Gaussians carried by moving anchors, and one step of their training (avatarkit/ops/anchors.py).
#pragma once

#include <cstdint>

#include "common/isa.h"

namespace avatarkit {

constexpr int64_t kCarried = 14;   // channels of a Gaussian: position 3, logit, color 3, quaternion 4, log scale 3
constexpr int64_t kPosition = 3;   // the first of them
constexpr int64_t kBlended = 7;    // the first of them, those with residuals
constexpr int64_t kTogether = 8;   // most steps whose residual moves are applied together

// Gaussians [14][N] at rest. `bones` [12][B] are affine maps to camera space (rows of 3 x 4), `bone` [N] whose each is,
// `visibility` [N] scales the opacity.
struct Rigged {
    const float *gaussians, *bones;
    const int32_t* bone;
    const float* visibility;
    int64_t count, bone_count;
};

struct LearnStep {
    float beta1, beta2;
    float correction1, correction2;  // 1 - beta^step
    float residual_rate;             // of the residuals, times a channel's own rate
};

// What the residuals add to the Gaussians in the next step's frame: blend [7][N] less sum_j weights_j moves_j, the moves
// [J][7][N] of the J steps since `blend` was worked out, the last of which is written. No blend: only the move is written.
struct LearnBlend {
    const float *blend, *weights;
    float* moves;
    int64_t steps;
};

}  // namespace avatarkit

// Affine maps of triangles [F][3] from rest to where `pose` [12] (rows of 3 x 4) puts the posed vertices [V][3]:
// edges and unit normal go to edges and unit normal. `inverse` [9][F] undoes that frame at rest, `first` [3][F] is
// the first corner there. Written to columns [begin, begin + F) of bones [12][B].
AK_DECLARE(void deform(const float* vertices, const int32_t* triangles, const float* inverse, const float* first,
                       const float* pose, int64_t count, int64_t begin, int64_t bone_count, float* bones))

// Gaussians in camera space. mean [N][3], covariance [N][6] (xx xy xz yy yz zz), color [N][3], opacity [N].
AK_DECLARE(void carry(const Rigged& rigged, float* mean, float* covariance, float* color, float* opacity))

// out [N]: how much of each Gaussian holes leave to be seen, 1 of those not listed in `behind` [M], whose holes `hole` [M]
// are. frames [H][7]: origin, unit vectors along and across, softness; borders [H][2][2][K]: upper and lower, places along
// (rising) and across, in the plane z = 1.
AK_DECLARE(void reveal(const float* positions, const float* bones, const int32_t* bone, const int32_t* behind,
                       const int32_t* hole, const float* frames, const float* borders, int64_t listed, int64_t knots,
                       int64_t count, int64_t bone_count, float* out))

// Gradients of the outputs of `carry` to `gradient` [14][N] of the Gaussians.
AK_DECLARE(void carry_backward(const Rigged& rigged, const float* grad_mean, const float* grad_covariance,
                               const float* grad_color, const float* grad_opacity, float* gradient))

// One step of Adam on base [14][N] with moments [2][14][N], and rates and epsilons [2][14]; the three of a position share
// their second moment, that of their squares' sum. The step's move of the residuals is rate * residual_rate * g /
// (sqrt(v) + eps). out [14][N]: the Gaussians of the next frame. Every float is worked out by one thread.
AK_DECLARE(void learn(float* base, float* moments, const float* gradient, const float* rates, int64_t count,
                      const LearnStep& step, const LearnBlend& blend, float* out))

// residual [K][7][N] less sum_j coefficients_jk moves_j, of coefficients [J][K] and moves [J][7][N]; then blends [M][7][N] =
// sum_k following_mk residual_k of following [M][K]. J and M are at most kTogether. Every float is worked out by one thread.
AK_DECLARE(void settle(float* residual, const float* coefficients, const float* moves, int64_t steps,
                       const float* following, float* blends, int64_t frames, int64_t bases, int64_t count))
