import type { RopeKernels } from "../../ops/rope";
import type { Launch } from "./launch";

export const rope = (launch: Launch): RopeKernels => ({
  rope: ({ x, table, out, batch, steps, heads, headSize, back }) => launch("rope", [x, table, out], [batch, steps, heads, headSize, Number(back)]),
});
