import type { MemoryKernels } from "../../ops/memory";
import type { Launch } from "./launch";

export const memory = (launch: Launch): MemoryKernels => ({
  fill: ({ out, value }) => launch(out.dtype === "i32" ? "fill.i32" : "fill.f32", [out], [value]),
  accumulate: ({ out, x, scale }) => launch(out.dtype === "i32" ? "accumulate.i32" : "accumulate.f32", [x, out], [scale]),
});
