import type { RetrieveKernels } from "../../ops/retrieve";
import type { Launch } from "./launch";

export const retrieve = (launch: Launch): RetrieveKernels => ({
  retrieve({ queries, landmarks, first, noise, indices, weights, batch, queryCount, landmarkCount, width, k }) {
    // What lies beyond all landmarks changes nothing, and sums with it stay exact.
    const start = Math.min(first, landmarkCount);
    launch("retrieve", [queries, landmarks, indices, weights], [
      batch, queryCount, landmarkCount, width, k, start, noise ? 1 : 0, ...(noise ?? [0, 0]),
    ]);
  },
  retrieveGradient({ queries, landmarks, indices, weights, dweights, dqueries, dlandmarks, batch, queryCount, landmarkCount, width, k }) {
    launch(
      "retrieveGradient", [queries, landmarks, indices, weights, dweights, dqueries, dlandmarks],
      [batch, queryCount, landmarkCount, width, k],
    );
  },
});
