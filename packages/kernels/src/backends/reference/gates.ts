import type { gatesKernels } from "../../ops/gates";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

const softplus = (z: number) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

export const gates: KernelsOf<typeof gatesKernels> = {
  ssmGates({ raw, bias, aLog, dt, a, rows, heads, minDt, maxDt }) {
    const [rs, bs, ls, dts, as] = [data(raw), data(bias), data(aLog), data(dt), data(a)];
    for (let i = 0; i < rows * heads; i++) {
      const h = i % heads;
      const step = Math.min(Math.max(softplus(rs[i]! + bs[h]!), minDt), maxDt);
      dts[i] = step;
      as[i] = -Math.exp(ls[h]!) * step;
    }
  },
  ssmGatesGradient({ raw, bias, aLog, ddt, da, draw, dbias, daLog, rows, heads, minDt, maxDt }) {
    const [rs, bs, ls, gr, gb, gl] = [data(raw), data(bias), data(aLog), data(draw), data(dbias), data(daLog)];
    const [gdt, ga] = [ddt && data(ddt), da && data(da)];
    gb.fill(0);
    gl.fill(0);
    for (let i = 0; i < rows * heads; i++) {
      const h = i % heads;
      const z = rs[i]! + bs[h]!;
      const free = softplus(z);
      const slope = free < minDt || free > maxDt ? 0 : 1 / (1 + Math.exp(-z));
      const decay = Math.exp(ls[h]!);
      gr[i] = ((gdt?.[i] ?? 0) - decay * (ga?.[i] ?? 0)) * slope;
      gb[h] = gb[h]! + gr[i]!;
      gl[h] = gl[h]! - (ga?.[i] ?? 0) * decay * Math.min(Math.max(free, minDt), maxDt);
    }
  },
};
