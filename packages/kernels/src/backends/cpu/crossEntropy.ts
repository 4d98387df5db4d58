import type { CrossEntropyKernels } from "../../ops/crossEntropy";
import { Tensor } from "../../tensor";
import type { Launch } from "./launch";

/** Logits that a tile holds (4 MB, which a cache takes), and the most of its rows and columns. */
const TILE_LOGITS = 1 << 20;
const TILE_ROWS = 2048;
const TILE_COLUMNS = 1024;

/** The vocabulary is cut evenly, in whole vectors; rows fill the tile up. */
function tileOf(rows: number, vocabulary: number): { tileRows: number; tileColumns: number } {
  const even = vocabulary / Math.ceil(vocabulary / TILE_COLUMNS);
  const tileColumns = Math.min(vocabulary, Math.ceil(even / 16) * 16);
  return { tileRows: Math.max(1, Math.min(rows, TILE_ROWS, Math.floor(TILE_LOGITS / tileColumns))), tileColumns };
}

export const crossEntropy = (launch: Launch): CrossEntropyKernels => ({
  crossEntropy({ hidden, weight, targets, losses, logsumexp, rows, width, vocabulary }) {
    const { tileRows, tileColumns } = tileOf(rows, vocabulary);
    const workspace = Tensor.empty(hidden.device, [tileRows, tileColumns + 2]);
    launch(weight.dtype === "f16" ? "crossEntropy.f16" : "crossEntropy", [hidden, weight, targets, workspace, losses, logsumexp], [rows, width, vocabulary, tileRows, tileColumns]);
    workspace.dispose();
  },
  crossEntropyGradient({ hidden, weight, targets, logsumexp, dlosses, dhidden, dweight, rows, width, vocabulary }) {
    const { tileRows, tileColumns } = tileOf(rows, vocabulary);
    const workspace = Tensor.empty(hidden.device, [tileRows, tileColumns + 2]);
    launch(
      "crossEntropyGradient",
      [hidden, weight, targets, logsumexp, dlosses, workspace, dhidden, dweight],
      [rows, width, vocabulary, tileRows, tileColumns],
    );
    workspace.dispose();
  },
});
