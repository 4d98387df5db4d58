/** A tiny model and a stream of tokens for it, for tests of stores on disk. */
import { advance, type Device, disposeExcept, type ForwardResult, key, type Parameters, tokenTensor } from "@lenggen/kernels";
import { type Drt, drt } from "../drt/model";
import type { DrtState } from "../drt/state";

export const CONFIG = {
  model_type: "drt", vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2, num_key_value_heads: 1,
  lower_layers: 1, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4, window: 6, top_k: 3,
};
export const model = drt(CONFIG);
const ROWS = 2;

/** The same on every machine. */
export const parametersOn = (device: Device): Parameters => model.init(key(3), device);

/** Tokens from ... to - 1 of two rows. */
function tokens(from: number, to: number): number[] {
  const token = (row: number, at: number) => (Math.imul(at * ROWS + row + 1, 0x9e3779b1) >>> 16) % 30;
  return Array.from({ length: ROWS }, (_, row) => Array.from({ length: to - from }, (_, i) => token(row, from + i))).flat();
}

/** Runs tokens from ... to - 1, in passes of at most `step`, and gives the last pass. Frees what lies between. */
export async function go(
  of: Drt, parameters: Parameters, device: Device, from: number, to: number, state?: DrtState, step = to - from,
): Promise<ForwardResult<DrtState>> {
  let last: ForwardResult<DrtState> | undefined;
  for (let at = from; at < to; at += step) {
    const end = Math.min(at + step, to);
    const input = tokenTensor(device, tokens(at, end), [ROWS, end - at], 30);
    try {
      const next: ForwardResult<DrtState> = await advance(of, parameters, input, last?.state ?? state);
      disposeExcept(last, [next, state]);
      last = next;
    } finally {
      input.dispose();
    }
  }
  return last!;
}
