/**
 * Reads a text with a DRT, chunk by chunk, and tells what each landmark thinks of the chunks before it; then asks. The scores are those
 * of a model that may pick all chunks: with one group of upper layers they depend on the lower layers alone, so that what is retrieved
 * does not change them. The answer is the model's own, with the few chunks that it may pick.
 */
import { type Drt, drt, type DrtState, loadDrt } from "@lenggen/gca";
import {
  advance, type Device, dispose, disposeExcept, generate, memorySource, openSafetensors, type Parameters, tokenTensor,
} from "@lenggen/kernels";
import { answerLength, LONGEST, type Landmark, promptOf } from "./text";

export interface Reader {
  readonly model: Drt;
  /** The same, but for how many chunks it may pick. */
  readonly scoring: Drt;
  readonly parameters: Parameters;
}

export type Told =
  | { readonly kind: "landmark"; readonly landmark: Landmark; readonly share: number }
  | { readonly kind: "answer"; readonly answer: string };

/** The model of a checkpoint: `config` as JSON, and weights in half precision, which stay so. */
export async function openReader(config: string, weights: Uint8Array<ArrayBuffer>, device: Device): Promise<Reader> {
  const { model, parameters } = await loadDrt(JSON.parse(config), await openSafetensors(memorySource(weights, "drt.safetensors")), device,
    device.kind === "cpu" ? "f32" : "f16");
  return { model, parameters, scoring: drt({ ...model.config, top_k: Math.ceil(LONGEST / model.settings.chunk) + 2 }) };
}

/** Reads the text and the question, and lets the model write the answer. */
export async function readAndAsk({ model, scoring, parameters }: Reader, text: string, name: string,
  tell: (told: Told) => void): Promise<void> {
  const prompt = promptOf(text, name);
  const { chunk } = model.settings;
  // The last token is read behind the landmarks that retrieve for it: that of the running chunk, and that of an empty one.
  const pieces = Array.from({ length: Math.ceil((prompt.length - 1) / chunk) }, (_, i) => ({
    tokens: prompt.subarray(i * chunk, Math.min((i + 1) * chunk, prompt.length - 1)), ends: [] as number[],
  }));
  const last = pieces.at(-1)!;
  if (last.tokens.length < chunk) last.ends.push(last.tokens.length);
  pieces.push({ tokens: prompt.subarray(prompt.length - 1), ends: [0, 0] });

  const [device] = Object.values(parameters).map((parameter) => parameter.device);
  let state: DrtState | undefined;
  try {
    for (const [i, { tokens: ids, ends }] of pieces.entries()) {
      const tokens = tokenTensor(device!, ids, [1, ids.length], model.vocabulary);
      const next = await advance(scoring, parameters, tokens, state, { ends });
      dispose([tokens, next.hidden]);
      disposeExcept(state, next.state);
      state = next.state;
      tell({ kind: "landmark", landmark: await landmarkOf(state, i), share: (0.6 * (i + 1)) / pieces.length });
    }
  } finally {
    dispose([state]);
  }
  const written: number[] = [];
  const count = answerLength(text, name);
  for await (const token of generate(model, parameters, prompt, { maxTokens: count, temperature: 0, segments: 2 })) written.push(token);
  tell({ kind: "answer", answer: String.fromCharCode(...written) });
}

/** How the last landmark weighs the chunks before it: a softmax of its scores, in the order of the chunks. */
async function landmarkOf(state: DrtState, chunk: number): Promise<Landmark> {
  const [{ indices, weights }] = state.retrieved as [DrtState["retrieved"][number]];
  const [rows, values] = await Promise.all([indices.read(), weights.read()]);
  const shares: number[] = [];
  rows.forEach((row, k) => {
    if (row >= 0) shares[row] = Math.round(values[k]! * 1e5) / 1e5;
  });
  return { chunk, shares };
}
