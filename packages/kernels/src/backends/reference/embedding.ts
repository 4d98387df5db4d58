import type { embeddingKernels } from "../../ops/embedding";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

const clamp = (token: number, vocabulary: number) => Math.min(Math.max(token, 0), vocabulary - 1);

export const embedding: KernelsOf<typeof embeddingKernels> = {
  embedding({ weight, tokens, out, count, width, vocabulary }) {
    const [w, ids, o] = [data(weight), data(tokens), data(out)];
    for (let i = 0; i < count; i++) {
      const row = clamp(ids[i]!, vocabulary) * width;
      o.set(w.subarray(row, row + width), i * width);
    }
  },
  embeddingGradient({ tokens, dy, dweight, count, width, vocabulary }) {
    const [ids, g, gw] = [data(tokens), data(dy), data(dweight)];
    gw.fill(0);
    for (let i = 0; i < count; i++) {
      const row = clamp(ids[i]!, vocabulary) * width;
      for (let j = 0; j < width; j++) gw[row + j] = gw[row + j]! + g[i * width + j]!;
    }
  },
};
