/** How fast a model trains on sequences of each length, with the same number of tokens in each step. */
import type { RetrievalModel } from "@lenggen/evals";
import { createIntervention, train } from "@lenggen/interventions";
import { type BatchSource, type Device, dispose, readTokens, type SequenceModel, type Tokens, type TokenSource } from "@lenggen/kernels";
import type { GcaRetrievalSettings } from "./settings";

/**
 * Over a few steps at each length, from fresh parameters. The first, which allocates, is not counted, nor the last: a step is reported
 * when the next one has been queued, and that must be so at both ends.
 */
export async function trainingSpeed(
  model: SequenceModel, device: Device, { lengths, tokens, steps }: NonNullable<GcaRetrievalSettings["speed"]>, text: Tokens | TokenSource,
  signal: AbortSignal,
): Promise<NonNullable<RetrievalModel["trainingSpeed"]>> {
  const found: { length: number; batch: number; tokensPerSecond: number }[] = [];
  for (const length of lengths) {
    const batch = Math.max(1, Math.floor(tokens / length));
    let [first, last] = [0, 0];
    const { parameters } = await train({
      model, device, seed: 0, steps: steps + 2, signal,
      batches: wholeTexts(text, batch, length),
      initialStates: createIntervention("zero", model, {}),
      onEvent: (event) => {
        if (event.kind !== "step" || event.step > steps + 1) return;
        last = performance.now();
        if (event.step === 1) first = last;
      },
    });
    dispose(parameters);
    signal.throwIfAborted();
    found.push({ length, batch, tokensPerSecond: (steps * batch * length * 1000) / Math.max(1e-3, last - first) });
  }
  return found;
}

/** One and the same batch of stretches of a text, which may be shorter than that. */
function wholeTexts(text: Tokens | TokenSource, batch: number, length: number): BatchSource {
  const tokens = new Int32Array(batch * length);
  for (let at = 0; at < tokens.length; at += text.length) readTokens(text, 0, tokens.subarray(at, at + text.length));
  return { order: "independent", batch, context: length, settings: {}, at: () => ({ tokens, targets: tokens }) };
}
