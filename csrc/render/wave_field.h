// The field's density half over a wave of samples: exactly, or from tables in half precision and, where the processor
// has them, with products of 16-bit integers.
#pragma once

#include <optional>

#include "hash_encoding/half_table.h"
#include "mlp/short_tile.h"
#include "render/waves.h"

namespace avatarkit::AK_ISA {

// What all threads read: a table of one image as the waves want it. Where the instruction set has no half precision
// `fast` changes nothing.
struct FieldTable {
    const GridShape& grid;
    const float* table;
    const FieldNetwork& net;
#ifdef __F16C__
    std::optional<HalfTable> half;
#endif
#ifdef AK_AVX512
    std::optional<ShortNetwork> shorts;
#endif

    FieldTable(const GridShape& grid_, const float* table_, const FieldNetwork& net_, bool fast)
        : grid(grid_), table(table_), net(net_) {
        if (!fast) return;
#ifdef AK_AVX512
        if (has_short_products()) {
            half.emplace(grid, table, ShortNetwork::kMostFeature);
            shorts.emplace(net, half->scale, half->bounds);
            return;
        }
#endif
#ifdef __F16C__
        half.emplace(grid, table, 0.f);
#endif
    }
};

// One thread's buffers.
class WaveField {
  public:
    WaveField() : rows_((kWave + kTile) * kWidth), hidden_(kTile * kHidden) {}

    // geometry [kWave + kTile][16] of the first `count` points; see density_tile.
    void geometry(const FieldTable& field, const WavePoints& points, int count, float* geometry) {
#ifdef AK_AVX512
        if (field.shorts) {
            int16_t* rows = reinterpret_cast<int16_t*>(static_cast<float*>(rows_));
            encode_rows(points, count, field.grid, static_cast<const Half*>(field.half->entries), rows);
            std::fill(rows + count * kWidth, rows + (count + kTile) * kWidth, int16_t{0});
            for (int first = 0; first < count; first += kTile)
                geometry_tile(*field.shorts, reinterpret_cast<const Pair*>(rows + first * kWidth),
                              geometry + first * kGeometry);
            return;
        }
#endif
#ifdef __F16C__
        if (field.half)
            encode_rows(points, count, field.grid, static_cast<const Half*>(field.half->entries),
                        static_cast<float*>(rows_));
        else
#endif
            encode_rows(points, count, field.grid, field.table, static_cast<float*>(rows_));
        std::fill(rows_ + count * kWidth, rows_ + (count + kTile) * kWidth, 0.f);
        for (int first = 0; first < count; first += kTile) {
            density_tile(field.net, rows_ + first * kWidth, hidden_);
            for (int s = 0; s < kTile; ++s) {
                const float* from = hidden_ + s * kHidden + kWidth;
                std::copy(from, from + kGeometry, geometry + (first + s) * kGeometry);
            }
        }
    }

    // The features [inputs] of a point of the last wave, where the field was not `fast`.
    const float* row(int point) const { return rows_ + point * kWidth; }

  private:
    Scratch<float> rows_, hidden_;
};

}  // namespace avatarkit::AK_ISA
