// Strided copies of 4-byte elements, f32 or i32: src/ops/view.ts.
#include <cstring>

#include "families.h"
#include "nest.h"
#include "signatures/view.h"
#include "split.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Side of a tile: a cache line of elements.
constexpr int64_t TILE = 16;

void checkCopyStrided(const CopyStridedArgs& args) {
  const Nest nest = requireNest(args.layout);
  requireReach("x", elementsOf(args.x), nest, 0, args.xOffset);
  requireReach("out", elementsOf(args.out), nest, 1, args.outOffset);
}

// Both sides are dense along the last axis: rows are copied whole, long ones in pieces.
void copyRows(const int32_t* x, int32_t* out, const Nest& nest, Pool& pool) {
  const int64_t inner = nest.inner(), pieces = (inner + ITEM - 1) / ITEM;
  inRanges(pool, nest.total / inner * pieces, std::min(inner, ITEM), [&](int64_t from, int64_t to) {
    for (int64_t part = from; part < to; part++) {
      int64_t position[2];
      nest.locate(part / pieces, 1, position);
      const int64_t start = part % pieces * ITEM;
      std::memcpy(out + position[1] + start, x + position[0] + start, static_cast<size_t>(std::min(ITEM, inner - start)) * 4);
    }
  });
}

// Otherwise the last two axes are walked in tiles. A tile is read along whichever axis x is denser, turned in a small
// buffer, and written along the last axis: so that cache lines on both sides are touched once, even where the strides
// are powers of two and all lines of a column fall into one set of the cache.
void copyTiles(const int32_t* x, int32_t* out, const Nest& nest, Pool& pool) {
  const int last = nest.rank - 1;
  const bool flat = nest.rank == 1;
  const int64_t height = flat ? 1 : nest.sizes[last - 1], width = nest.sizes[last];
  const int64_t xDown = flat ? 0 : nest.strides[0][last - 1], outDown = flat ? 0 : nest.strides[1][last - 1];
  const int64_t xAcross = nest.strides[0][last], outAcross = nest.strides[1][last];
  const bool turned = !flat && xDown < xAcross;
  const int64_t bands = (height + TILE - 1) / TILE, columns = (width + TILE - 1) / TILE, tiles = bands * columns;
  inRanges(pool, nest.total / (height * width) * tiles, std::min(TILE, height) * std::min(TILE, width), [&](int64_t from, int64_t to) {
    int32_t buffer[TILE][TILE];
    for (int64_t tile = from; tile < to; tile++) {
      int64_t position[2];
      nest.locate(tile / tiles, flat ? 1 : 2, position);
      const int64_t top = tile % tiles / columns * TILE, left = tile % columns * TILE;
      const int64_t rows = std::min(TILE, height - top), across = std::min(TILE, width - left);
      const int32_t* source = x + position[0] + top * xDown + left * xAcross;
      int32_t* target = out + position[1] + top * outDown + left * outAcross;
      if (turned) {
        for (int64_t j = 0; j < across; j++)
          for (int64_t i = 0; i < rows; i++) buffer[i][j] = source[i * xDown + j * xAcross];
      } else {
        for (int64_t i = 0; i < rows; i++)
          for (int64_t j = 0; j < across; j++) buffer[i][j] = source[i * xDown + j * xAcross];
      }
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < across; j++) target[i * outDown + j * outAcross] = buffer[i][j];
    }
  });
}

void runCopyStrided(const CopyStridedArgs& args, Pool& pool) {
  const Nest nest = readNest(args.layout);
  if (nest.total == 0) return;
  const int32_t* x = args.x.i32() + args.xOffset;
  int32_t* out = args.out.i32() + args.outOffset;
  const bool dense = nest.strides[0][nest.rank - 1] == 1 && nest.strides[1][nest.rank - 1] == 1;
  if (dense) copyRows(x, out, nest, pool);
  else copyTiles(x, out, nest, pool);
}

}  // namespace

extern const Kernel viewKernels[] = {
    kernel<CopyStridedArgs, runCopyStrided, checkCopyStrided>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
