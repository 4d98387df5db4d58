import type { CrossEntropyKernels } from "../../ops/crossEntropy";
import { Tensor } from "../../tensor";
import type { Launch } from "./launch";

/** Logits that a tile holds at a time: 4 MB, to stay in cache. */
const TILE_LOGITS = 1 << 20;

/** Rows of a tile: by the cache, but enough of them that reading the weight pays. */
function tileRowsOf(rows: number, vocabulary: number): number {
  const fitting = Math.min(2048, Math.max(256, Math.floor(TILE_LOGITS / vocabulary)));
  return Math.max(1, Math.min(rows, fitting));
}

export const crossEntropy = (launch: Launch): CrossEntropyKernels => ({
  crossEntropy({ hidden, weight, targets, losses, logsumexp, rows, width, vocabulary }) {
    const tileRows = tileRowsOf(rows, vocabulary);
    const workspace = Tensor.empty(hidden.device, [tileRows, vocabulary]);
    launch("crossEntropy", [hidden, weight, targets, workspace, losses, logsumexp], [rows, width, vocabulary, tileRows]);
    workspace.dispose();
  },
  crossEntropyGradient({ hidden, weight, targets, logsumexp, dlosses, dhidden, dweight, rows, width, vocabulary }) {
    const tileRows = tileRowsOf(rows, vocabulary);
    const workspace = Tensor.empty(hidden.device, [tileRows, vocabulary]);
    launch(
      "crossEntropyGradient",
      [hidden, weight, targets, logsumexp, dlosses, workspace, dhidden, dweight],
      [rows, width, vocabulary, tileRows],
    );
    workspace.dispose();
  },
});
