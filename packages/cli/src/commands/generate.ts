import { check, generate } from "@lenggen/kernels";
import { keepingChunks, type Tier, TIERS, TIERS_HELP } from "../chunks";
import type { CommandSpec } from "../command";
import { findCheckpoint, loadCheckpoint, WEIGHTS, WEIGHTS_HELP } from "../models";
import { oneOf, realNumber, wholeNumber } from "../parse";

interface Options {
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly weights: (typeof WEIGHTS)[number];
  readonly memory: Tier;
}

const BYTES = 256;

export const generateText: CommandSpec = {
  name: "generate",
  summary: "Continue a text with a trained byte model.",
  examples: ['lenggen generate runs/base --prompt "My fellow citizens, " --tokens 200 --temperature 0.8 --seed 1'],
  define: (command) =>
    command
      .argument("<checkpoint>", "a run directory (its last checkpoint) or a checkpoint's folder")
      .requiredOption("--prompt <text>", "what the model reads first")
      .option("--tokens <n>", "how many bytes to write", wholeNumber("--tokens", 1), 256)
      .option("--temperature <x>", "0 takes the likeliest always; above 1 is bolder", realNumber("--temperature", { minimum: 0 }), 1)
      .option("--top-k <n>", "choose among the k likeliest only", wholeNumber("--top-k", 1))
      .option("--top-p <p>", "choose among the likeliest up to this total probability", realNumber("--top-p", { above: 0, maximum: 1 }))
      .option("--weights <type>", WEIGHTS_HELP, oneOf("--weights", WEIGHTS), "f32")
      .option("--memory <tier>", TIERS_HELP, oneOf("--memory", TIERS), "device"),
  async run(context, [path], given) {
    const { prompt, tokens: maxTokens, temperature, topK, topP, weights, memory } = given as unknown as Options;
    check(prompt.length > 0, "E_TEXT", () => "--prompt is empty; the model needs at least one byte to go on from");
    const folder = await findCheckpoint(path!);
    const { model, parameters } = await loadCheckpoint(folder, await context.openDevice(), weights);
    check(model.vocabulary === BYTES, "E_CONFIG", () =>
      `${folder} has a vocabulary of ${model.vocabulary}; this command reads and writes bytes, a vocabulary of ${BYTES}`);
    const { out, common, signal } = context;
    const decoder = new TextDecoder();
    const stream = out.json ? process.stderr : process.stdout;
    const show = (text: string) => stream.write(stream.isTTY ? visible(text) : text);
    const tokens: number[] = [];
    let text = "";
    const add = (piece: string): void => {
      text += piece;
      show(piece);
    };
    show(prompt);
    const options = { maxTokens, temperature, topK, topP, seed: common.seed, signal };
    await keepingChunks(model, memory, ".", async (writer) => {
      for await (const token of generate(writer, parameters, new TextEncoder().encode(prompt), options)) {
        tokens.push(token);
        add(decoder.decode(Uint8Array.of(token), { stream: true }));
      }
    });
    add(decoder.decode());
    show("\n");
    out.document({ checkpoint: folder, prompt, text, tokens, seed: common.seed });
  },
};

/** Text for a terminal: a byte model may write control characters, which could do anything there. */
function visible(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, "\uFFFD");
}
