import type { SsdKernels, SsdSizes } from "../../ops/ssd";
import { zeros } from "../../tensor";
import type { Launch } from "./launch";

const numbers = ({ batch, steps, heads, headSize, groups, stateSize, chunk }: SsdSizes) =>
  [batch, steps, heads, headSize, groups, stateSize, chunk];

export const ssd = (launch: Launch): SsdKernels => ({
  ssd: ({ x, dt, a, b, c, d, state, y, final, starts, ...sizes }) =>
    launch("ssd", [x, dt, a, b, c, d, state, y, final, starts], numbers(sizes)),
  ssdGradient: ({ x, dt, a, b, c, d, state, starts, dy, dfinal, dx, ddt, da, db, dc, dd, dstate, ...sizes }) => {
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(x.device, x.shape, x.dtype);
    launch(
      "ssdGradient",
      [x, dt, a, b, c, d, starts, dy ?? none, dfinal, dx, ddt, da, db, dc, dd, dstate],
      [...numbers(sizes), Number(state !== null)],
    );
    none?.dispose();
  },
});
