/**
 * Attention: one dispatch forward, three for the gradient. What is too large to be bound at once is cut into batch rows; a row that
 * is too large into the heads that share a key head, which are copied out and back.
 */
import type { AttentionInputs, attentionKernels, AttentionSizes } from "../../ops/attention";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { attentionForward, attentionKeys, attentionQueries, attentionStats, STATS_ROWS } from "./attentionShaders";
import { type Launcher, part, rowParts } from "./launcher";
import { view } from "./view";

type Inputs = AttentionInputs & AttentionSizes;
type Forward = Inputs & { out: Tensor; lse: Tensor };
type Gradient = Inputs & { out: Tensor; lse: Tensor; dout: Tensor; dq: Tensor; dk: Tensor; dv: Tensor };

/** Numbers of a batch row. */
const widthsOf = ({ time, keys, heads, keyHeads, headSize }: AttentionSizes) =>
  ({ query: time * heads * headSize, key: keys * keyHeads * headSize, scalar: time * heads });

const tiles = (count: number): number => Math.ceil(count / 64);

const paramsOf = ({ time, keys, heads, keyHeads, headSize, causal, window, scale }: AttentionSizes) => ({
  time, keys, heads, keyHeads, headSize, rows: (time * heads) / keyHeads, share: heads / keyHeads, causal: Number(causal), window, scale,
});

export const attention = (gpu: Launcher): KernelsOf<typeof attentionKernels> => {
  const { copyStrided } = view(gpu);

  /** Whether a batch row can't be bound, and can be cut. */
  function tooLarge(args: Inputs): boolean {
    const { query, key, scalar } = widthsOf(args);
    return Math.max(query, key, 4 * scalar) * 4 > gpu.maxBinding && args.keyHeads > 1;
  }

  /** Batch rows that are bound together, with what of a tensor belongs to them. */
  function ranges(args: Inputs) {
    const { query, key, scalar } = widthsOf(args);
    return rowParts(args.batch, [query, key, 4 * scalar], gpu.maxBinding).map(({ start, count }) => ({
      count,
      queries: (t: Tensor) => part(t, start * query, count * query),
      keys: (t: Tensor) => part(t, start * key, count * key),
      scalars: (t: Tensor) => part(t, start * scalar, count * scalar),
      // Something must be bound where there is none.
      slopes: args.slopes ?? part(args.q, 0, 1),
      lengths: args.lengths ? part(args.lengths, start, count) : part(args.q, 0, 1),
      given: { sloped: Number(args.slopes !== null), limited: Number(args.lengths !== null) },
    }));
  }

  /**
   * Calls `body` for each batch row and key head, with copies of its parts of the tensors, of `queries` and `keys` heads; what is
   * `written` is copied back.
   */
  function eachHead<N extends string>(
    args: Inputs, tensors: Readonly<Record<N, { tensor: Tensor; kind: "query" | "key" | "scalar"; written: boolean }>>,
    body: (copies: Record<N, Tensor>, inputs: Pick<Inputs, "slopes" | "lengths"> & AttentionSizes) => void,
  ): void {
    const { batch, time, keys, heads, keyHeads, headSize, slopes, lengths } = args;
    const share = heads / keyHeads;
    const layouts = {
      query: { rows: time, width: share * headSize },
      key: { rows: keys, width: headSize },
      scalar: { rows: time, width: share },
    };
    for (let row = 0; row < batch * keyHeads; row++) {
      const [b, keyHead] = [Math.floor(row / keyHeads), row % keyHeads];
      const copies = {} as Record<N, Tensor>;
      const copy = (name: N, back: boolean): void => {
        const { tensor, kind } = tensors[name];
        const { rows, width } = layouts[kind];
        const start = b * rows * width * keyHeads + keyHead * width;
        const wide = [width * keyHeads, 1];
        const narrow = [width, 1];
        copyStrided({
          x: back ? copies[name] : tensor, out: back ? tensor : copies[name], xOffset: back ? 0 : start, outOffset: back ? start : 0,
          layout: { sizes: [rows, width], strides: back ? [narrow, wide] : [wide, narrow] },
        });
      };
      const names = Object.keys(tensors) as N[];
      for (const name of names) {
        const { tensor, kind, written } = tensors[name];
        copies[name] = Tensor.empty(tensor.device, [layouts[kind].rows * layouts[kind].width]);
        if (!written) copy(name, false);
      }
      body(copies, { ...args, batch: 1, heads: share, keyHeads: 1, slopes: slopes && slopes.window([share], keyHead * share),
        lengths: lengths && lengths.window([1], b) });
      for (const name of names) {
        if (tensors[name].written) copy(name, true);
        copies[name].dispose();
      }
    }
  }

  const read = (tensor: Tensor, kind: "query" | "key" | "scalar") => ({ tensor, kind, written: false });
  const written = (tensor: Tensor, kind: "query" | "key" | "scalar") => ({ tensor, kind, written: true });

  function forward(args: Forward): void {
    const { q, k, v, out, lse, headSize } = args;
    if (tooLarge(args)) {
      return eachHead(args, { q: read(q, "query"), k: read(k, "key"), v: read(v, "key"), out: written(out, "query"),
        lse: written(lse, "scalar") },
        (copies, inputs) => {
          forward({ ...inputs, ...copies });
          inputs.slopes?.dispose();
          inputs.lengths?.dispose();
        });
    }
    const params = paramsOf(args);
    for (const { count, queries, keys, scalars, slopes, lengths, given } of ranges(args)) {
      gpu.run(
        attentionForward(headSize % 4 === 0),
        { q: queries(q), k: keys(k), v: keys(v), slopes, lengths, out: queries(out), lse: scalars(lse) },
        { ...params, ...given }, count * args.keyHeads * tiles(params.rows) * tiles(headSize),
      );
    }
  }

  function gradient(args: Gradient): void {
    const { q, k, v, out, lse, dout, dq, dk, dv, headSize, heads, time } = args;
    if (tooLarge(args)) {
      return eachHead(args, {
        q: read(q, "query"), k: read(k, "key"), v: read(v, "key"), out: read(out, "query"), lse: read(lse, "scalar"),
        dout: read(dout, "query"), dq: written(dq, "query"), dk: written(dk, "key"), dv: written(dv, "key"),
      }, (copies, inputs) => {
        gradient({ ...inputs, ...copies });
        inputs.slopes?.dispose();
        inputs.lengths?.dispose();
      });
    }
    const quads = headSize % 4 === 0;
    const params = paramsOf(args);
    for (const { count, queries, keys, scalars, slopes, lengths, given } of ranges(args)) {
      const rows = count * time * heads;
      using stats = Tensor.empty(q.device, [rows, 4]);
      gpu.run(
        attentionStats, { out: queries(out), dout: queries(dout), lse: scalars(lse), slopes, lengths, stats },
        { time, keys: args.keys, heads, headSize, count: rows, ...given }, Math.ceil(rows / STATS_ROWS),
      );
      const inputs = { q: queries(q), k: keys(k), v: keys(v), dout: queries(dout), stats };
      const pairs = count * args.keyHeads * tiles(headSize);
      gpu.run(attentionQueries(quads), { ...inputs, dq: queries(dq) }, params, pairs * tiles(params.rows));
      gpu.run(attentionKeys(quads), { ...inputs, dk: keys(dk), dv: keys(dv) }, params, pairs * tiles(args.keys));
    }
  }

  return {
    attention(args) {
      const { q: { device }, batch, time, heads } = args;
      const lse = Tensor.empty(device, [batch, time, heads]);
      forward({ lse, ...args });
      return { lse };
    },
    attentionGradient: ({ saved: { lse }, ...args }) => gradient({ lse, ...args }),
  };
};
