#include "resemblance/resemblance.h"

#include <algorithm>
#include <cmath>

#include "common/threads.h"
#include "resemblance/pixel_rows.h"

namespace avatarkit::AK_ISA {

namespace {

constexpr int kReach = 5, kTaps = 2 * kReach + 1, kChannels = 3;
constexpr int kMoments = 4, kSlopes = 3;  // p, t, p^2 + t^2, p t; gradients by mean, by variance, by covariance
constexpr int kBlock = 8, kUnder = kBlock + 2 * kReach;  // rows worked on at a time, and those under their windows
constexpr int kKept = 32;                                // rows that are kept, by their lowest bits
constexpr int kEdge = 16;  // floats beside a row, zero: the window's reach of interleaved colors
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;

struct Window {
    Vec tap[kReach + 1];  // center, then outwards

    Window() {
        double total = 0;
        for (int i = -kReach; i <= kReach; ++i) total += std::exp(-0.5 * i * i / (1.5 * 1.5));
        for (int i = 0; i <= kReach; ++i) tap[i] = splat(static_cast<float>(std::exp(-0.5 * i * i / (1.5 * 1.5)) / total));
    }
    // The blurred value at the middle of those that at(-kReach ... kReach) gives.
    template <class At>
    Vec operator()(At&& at) const {
        Vec v = tap[0] * at(0);
#pragma GCC unroll 5
        for (int k = 1; k <= kReach; ++k) v += tap[k] * (at(-k) + at(k));
        return v;
    }
    // Of interleaved colors along a row.
    Vec along(const float* center) const {
        return (*this)([&](int k) { return load(center + kChannels * k); });
    }
};

inline Vec magnitude(Vec v) { return (Vec)((VecInt)v & 0x7fffffff); }
// `size` with the sign of v, zero where v is.
inline Vec signed_as(Vec v, Vec size) { return select(v > Vec{}, size, select(v < Vec{}, -size, Vec{})); }

// The rows that one thread has at hand. A row of colors is `length` floats, those beyond the picture's zero. What is
// next to each other in a column is worked on together, so that it comes from the second-level cache once.
class Band {
  public:
    Band(const ResemblancePictures& pictures, const ResemblanceWeights& weights, float* gradient)
        : p_(pictures), weights_(weights), gradient_(gradient),
          pixels_((pictures.width + kLanes - 1) / kLanes * kLanes), length_(kChannels * pixels_),
          pitch_(length_ + 2 * kEdge), memory_(kRows * pitch_ + (kKept + 2) * pixels_) {
        std::fill(memory_ + 0, memory_ + kRows * pitch_ + (kKept + 2) * pixels_, 0.f);
        float* next = memory_;
        const auto colors = [&](float** rows, int count) {
            for (int i = 0; i < count; ++i, next += pitch_) rows[i] = next + kEdge;
        };
        colors(picture_, kKept), colors(truth_, kKept);
        for (auto& rows : slopes_) colors(rows, kKept);
        for (auto& rows : moment_) colors(rows, kBlock);
        colors(result_, kBlock), colors(slope_, kSlopes), colors(&share_, 1), colors(&nothing_, 1);
        for (auto& row : alpha_) row = next, next += pixels_;
        matte_ = next, by_alpha_ = next + pixels_;
    }

    // Reads row y.
    void read(int64_t y) {
        const int64_t at = y * p_.width, kept = y % kKept;
        lay_row_over(lanes_, p_.splats + 4 * at, p_.behind + 3 * at, p_.width, picture_[kept], alpha_[kept]);
        if (p_.truth.bytes) to_floats(p_.truth.bytes + 3 * at, 3 * p_.width, truth_[kept]);
        else to_floats(p_.truth.floats + 3 * at, 3 * p_.width, truth_[kept]);
    }

    // From rows that were read to the gradients of the SSIM of `rows` by its moments, blurred along the rows. Weighted
    // sums of SSIM go to sums[2 y].
    void compare(Range rows, double* sums) {
        const float *p[kUnder], *t[kUnder];
        const int count = under(picture_, rows, p);
        under(truth_, rows, t);
        for (int64_t x = 0; x < length_; x += kLanes) {
            Vec m[kMoments][kUnder];
            for (int i = 0; i < count; ++i) {
                const Vec own = load(p[i] + x), wanted = load(t[i] + x);
                m[0][i] = own, m[1][i] = wanted, m[2][i] = own * own + wanted * wanted, m[3][i] = own * wanted;
            }
            for (int i = kReach; i < count - kReach; ++i)
                for (int j = 0; j < kMoments; ++j)
                    store(moment_[j][i - kReach] + x, window_([&](int k) { return m[j][i + k]; }));
        }
        for (int64_t y = rows.begin; y < rows.end; ++y) sums[2 * y] = compare_along(y, y - rows.begin);
    }

    // The gradient of `rows`, once the rows around them are compared. Weighted sums of absolute differences go to
    // sums[2 y + 1].
    void finish(Range rows, double* sums) {
        const float* slope[kSlopes][kUnder];
        int count = 0;
        for (int j = 0; j < kSlopes; ++j) count = under(slopes_[j], rows, slope[j]);
        const Vec plain = splat((1 - weights_.structure) / kChannels), structure = splat(weights_.structure);
        for (int64_t x = 0; x < length_; x += kLanes) {
            Vec column[kSlopes][kUnder];
            for (int j = 0; j < kSlopes; ++j)
                for (int i = 0; i < count; ++i) column[j][i] = load(slope[j][i] + x);
            for (int i = kReach; i < count - kReach; ++i) {
                const int64_t kept = (rows.begin + i - kReach) % kKept;
                const Vec own = load(picture_[kept] + x), wanted = load(truth_[kept] + x);
                Vec by[kSlopes];
                for (int j = 0; j < kSlopes; ++j) by[j] = window_([&](int k) { return column[j][i + k]; });
                store(result_[i - kReach] + x, -structure * (by[0] + splat(2.f) * own * by[1] + wanted * by[2]));
            }
        }
        for (int64_t y = rows.begin; y < rows.end; ++y) {
            float *result = result_[y - rows.begin];
            const float *p = picture_[y % kKept], *t = truth_[y % kKept], *share = p_.share + y * p_.width;
            repeat_row_thrice(lanes_, share, p_.width, share_);
            Vec total{};
            for (int64_t x = 0; x < length_; x += kLanes) {
                const Vec wrong = load(p + x) - load(t + x), w = plain * load(share_ + x);
                store(result + x, load(result + x) + signed_as(wrong, w));
                total += w * magnitude(wrong);
            }
            sums[2 * y + 1] = sum(total) + by_matte(y, share);
            row_to_four(lanes_, result, p_.behind + 3 * y * p_.width, by_alpha_, p_.width, gradient_ + 4 * y * p_.width);
        }
    }

  private:
    static constexpr int64_t kRows = (2 + kSlopes) * kKept + (kMoments + 1) * kBlock + kSlopes + 2;

    // The rows under the windows of `rows`, zeros beyond the picture. Returns their number.
    int under(float* const* kept, Range rows, const float** found) const {
        int count = 0;
        for (int64_t y = rows.begin - kReach; y < rows.end + kReach; ++y)
            found[count++] = y < 0 || y >= p_.height ? nothing_ : kept[y % kKept];
        return count;
    }

    // Of row y, whose moments, blurred across rows, are the `at`th of the block. Returns the weighted sum of SSIM.
    double compare_along(int64_t y, int64_t at) {
        repeat_row_thrice(lanes_, p_.share + y * p_.width, p_.width, share_);
        const Vec two = splat(2.f), per_color = splat(1.f / kChannels);
        Vec total{};
        for (int64_t x = 0; x < length_; x += kLanes) {
            const Vec a = window_.along(moment_[0][at] + x), b = window_.along(moment_[1][at] + x);
            const Vec squares = window_.along(moment_[2][at] + x), product = window_.along(moment_[3][at] + x);
            const Vec together = a * b, sizes = a * a + b * b;
            const Vec luminance = sizes + splat(kC1), contrast = squares - sizes + splat(kC2);
            const Vec like = two * together + splat(kC1), covaries = two * (product - together) + splat(kC2);
            const Vec over = reciprocal(luminance * contrast), factor = load(share_ + x) * per_color * over;
            const Vec value = like * covaries * factor;
            const Vec by_covariance = two * like * factor, by_variance = -value * luminance * over;
            total += value;
            store(slope_[0] + x, two * b * covaries * factor - two * a * (value * contrast * over + by_variance) -
                                     b * by_covariance);
            store(slope_[1] + x, by_variance);
            store(slope_[2] + x, by_covariance);
        }
        for (int j = 0; j < kSlopes; ++j)
            for (int64_t x = 0; x < length_; x += kLanes)
                store(slopes_[j][y % kKept] + x, window_.along(slope_[j] + x));
        return sum(total);
    }

    // The weighted sum of what is wrong with the alpha of row y; its gradient goes to by_alpha_.
    double by_matte(int64_t y, const float* share) {
        if (p_.matte.bytes) to_floats(p_.matte.bytes + y * p_.width, p_.width, matte_);
        else to_floats(p_.matte.floats + y * p_.width, p_.width, matte_);
        const float* alpha = alpha_[y % kKept];
        Vec sums{};
        int64_t x = 0;
        for (; x + kLanes <= p_.width; x += kLanes) {
            const Vec wrong = load(alpha + x) - load(matte_ + x), w = splat(weights_.matte) * load(share + x);
            store(by_alpha_ + x, signed_as(wrong, w));
            sums += w * magnitude(wrong);
        }
        double total = sum(sums);
        for (; x < p_.width; ++x) {
            const float wrong = alpha[x] - matte_[x], w = weights_.matte * share[x];
            by_alpha_[x] = wrong > 0 ? w : wrong < 0 ? -w : 0.f;
            total += w * std::fabs(wrong);
        }
        return total;
    }

    const ResemblancePictures& p_;
    const ResemblanceWeights& weights_;
    float* gradient_;
    const Window window_;
    const PixelLanes lanes_{};
    const int64_t pixels_, length_, pitch_;
    Scratch<float> memory_;
    float *picture_[kKept], *truth_[kKept], *alpha_[kKept], *slopes_[kSlopes][kKept];
    float *moment_[kMoments][kBlock], *result_[kBlock], *slope_[kSlopes], *share_, *nothing_, *matte_, *by_alpha_;
};

}  // namespace

double resemblance(const ResemblancePictures& pictures, const ResemblanceWeights& weights, float* gradient) {
    const int threads = thread_count();
    Scratch<double> sums(2 * pictures.height);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; ++part) {
        const Range mine = part_of(pictures.height, part, threads);
        if (mine.begin == mine.end) continue;
        Band band(pictures, weights, gradient);
        Scratch<double> beside(2 * pictures.height);  // of rows that belong to others
        const Range needed{std::max<int64_t>(mine.begin - kReach, 0), std::min(mine.end + kReach, pictures.height)};
        int64_t read = std::max<int64_t>(needed.begin - kReach, 0), finished = mine.begin;
        for (int64_t y = needed.begin; y < needed.end; y += kBlock) {
            const Range rows{y, std::min(y + kBlock, needed.end)};
            for (; read < std::min(rows.end + kReach, pictures.height); ++read) band.read(read);
            band.compare(rows, beside);
            const int64_t ready = rows.end == needed.end ? mine.end : std::min(rows.end - kReach, mine.end);
            while (finished < ready) {
                const Range done{finished, std::min(finished + kBlock, ready)};
                band.finish(done, beside);
                finished = done.end;
            }
        }
        std::copy(beside + 2 * mine.begin, beside + 2 * mine.end, sums + 2 * mine.begin);
    }
    double value = weights.structure;
    for (int64_t y = 0; y < pictures.height; ++y) value += sums[2 * y + 1] - weights.structure * sums[2 * y];
    return value;
}

}  // namespace avatarkit::AK_ISA
