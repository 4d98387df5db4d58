import type { EmbeddingKernels } from "../../ops/embedding";
import type { Launch } from "./launch";

export const embedding = (launch: Launch): EmbeddingKernels => ({
  embedding({ weight, tokens, out, count, width, vocabulary }) {
    launch(weight.dtype === "f16" ? "embedding.f16" : "embedding", [weight, tokens, out], [count, width, vocabulary]);
  },
  embeddingGradient({ tokens, dy, dweight, count, width, vocabulary }) {
    launch("embeddingGradient", [tokens, dy, dweight], [count, width, vocabulary]);
  },
});
