// Planar video to RGB and back: what ffmpeg's own accurate conversions take ten times as long for.
//
// Shapes: rgb [H, W, 3]; planes one buffer of Y [H, W], then Cb and Cr [ceil(H / 2), ceil(W / 2)] each ("yuv420p"). All
// bytes, contiguous, row major; limited range (Y 16 to 235, Cb and Cr 16 to 240). `red` and `blue` are those colors'
// shares of the luma: 0.299 and 0.114 for BT.601, 0.2126 and 0.0722 for BT.709.
// Both functions give the same bits for any number of threads.
#pragma once
#include <cstdint>

#include "common/isa.h"

// Each chroma sample stands for its 2 x 2 pixels; colors outside 0..255 are clamped, all are rounded to the nearest.
AK_DECLARE(void yuv_to_rgb(const uint8_t* planes, int64_t height, int64_t width, float red, float blue, uint8_t* rgb))

// Chroma is that of the mean of its 2 x 2 pixels, or of as many as there are.
AK_DECLARE(void rgb_to_yuv(const uint8_t* rgb, int64_t height, int64_t width, float red, float blue, uint8_t* planes))
