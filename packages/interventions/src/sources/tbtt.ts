/**
 * Truncated backpropagation through time: long texts are cut into chunks, and a chunk starts from the final
 * state of the chunk before it; the gradient stops between them. It is state passing over contiguous tokens. A stream
 * that starts a text (anew) starts from zero; further resets are possible but off unless asked for.
 */
import type { Intervention } from "../initialStates";
import { carriedStates, carryOptions, type CarryOptions, carrySettings } from "./carry";

/** Truncated backpropagation through time: contiguous chunks, the state carried over, the gradient cut. */
export const tbtt: Intervention<CarryOptions> = {
  summary: "Cut long texts into chunks and start each chunk from the final state of the chunk before it.",
  order: "contiguous",
  options: carrySettings(0),
  create: (model, options) => carriedStates("tbtt", "contiguous", model, carryOptions("tbtt", tbtt.options, model, options)),
};
