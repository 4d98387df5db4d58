import { check, disposeExcept, generate, joinTokens, StopTexts, type TokenSource } from "@lenggen/kernels";
import { type Tier, TIERS, TIERS_HELP } from "../chunks";
import type { CommandSpec, Context } from "../command";
import { CHECKPOINT_HELP, findCheckpoint, loadCheckpoint, WEIGHTS, WEIGHTS_HELP } from "../checkpoints";
import { oneOf, realNumber, texts, wholeNumber } from "../parse";
import { Progress } from "../progress";
import { beginningAt, checkSavePlace, checkStateTokenizer, type Ending, saveEnding } from "../states";
import { addFieldOption, openText, TEXT_HELP } from "../texts";
import { addTokenizerOption, inTokens, tokenizerFor, tokenizerRecord } from "../tokens";
import { type TokenizerFiles, textOf } from "@lenggen/data/node";
import { UsageError } from "../usage";

interface Options {
  readonly prompt: string;
  readonly promptFile?: string;
  readonly field?: string;
  readonly tokenizer?: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly stop: readonly string[];
  readonly weights: (typeof WEIGHTS)[number];
  readonly memory: Tier;
  readonly state?: string;
  readonly saveState?: string;
}

/** U+FFFD, for an id that stands for nothing: models have more rows than their tokenizers ids. */
const UNKNOWN = new TextEncoder().encode("\uFFFD");

export const generateText: CommandSpec = {
  name: "generate",
  summary: "Continue a text with a trained model.",
  examples: [
    'lenggen generate runs/base --prompt "My fellow citizens, " --tokens 200 --temperature 0.8 --seed 1',
    "lenggen generate runs/base --prompt-file book.txt --tokens 200",
    'lenggen generate runs/base --prompt "Q: who? A: " --stop "Q:" --stop END',
  ],
  define: (command) =>
    addTokenizerOption(addFieldOption(command), "the checkpoint's, or bytes for a model of bytes")
      .argument("<checkpoint>", CHECKPOINT_HELP)
      .option("--prompt <text>", "what the model reads first", "")
      .option("--prompt-file <text>", `what it reads before that, of any length: ${TEXT_HELP}`)
      .option("--tokens <n>", "how many tokens to write, which are bytes for a model of bytes; 0 only reads, for --save-state",
        wholeNumber("--tokens", 0), 256)
      .option("--temperature <x>", "0 takes the likeliest always; above 1 is bolder", realNumber("--temperature", { minimum: 0 }), 1)
      .option("--top-k <n>", "choose among the k likeliest only", wholeNumber("--top-k", 1))
      .option("--top-p <p>", "choose among the likeliest up to this total probability", realNumber("--top-p", { above: 0, maximum: 1 }))
      .option("--stop <text>", "end before this text; may be given several times", texts("--stop"), [])
      .option("--weights <type>", WEIGHTS_HELP, oneOf("--weights", WEIGHTS), "f32")
      .option("--memory <tier>", TIERS_HELP, oneOf("--memory", TIERS), "device")
      .option("--state <file>",
        "go on where a --save-state ended, to the same bytes as in one go (with the same options; its seed unless --seed is given)")
      .option("--save-state <file>", "save where this ends; with --memory host or disk, a folder"),
  async run(context, [path], given) {
    const { prompt, promptFile, field, tokenizer: named, tokens: maxTokens, temperature, topK, topP, stop, weights, memory, state: from,
      saveState: to } = given as unknown as Options;
    const prompted = prompt.length > 0 || promptFile !== undefined;
    check(prompted || from !== undefined, "E_TEXT", () =>
      "--prompt is empty, and there is neither --prompt-file nor --state; the model needs at least one token to go on from");
    if (maxTokens === 0 && to === undefined) throw new UsageError("--tokens 0 writes nothing; it is for --save-state");
    if (field !== undefined && promptFile === undefined) throw new UsageError("--field is for --prompt-file, which is not given");
    if (to === "") throw new UsageError("--save-state: the name is empty; give that of a file");
    if (to !== undefined) await checkSavePlace(to, memory);
    const before = promptFile === undefined ? [] : (await openText(promptFile, 1, { field, signal: context.signal })).tokens;
    const bytes = joinTokens([before, new TextEncoder().encode(prompt)]);
    const folder = await findCheckpoint(path!, context);
    const { model, parameters, about } = await loadCheckpoint(folder, await context.openDevice(), weights);
    context.out.note(`${folder}: ${about}`);
    const files = await tokenizerFor(model, named, folder, context);
    const { tokenizer } = files;
    const promptIds = await promptTokens(bytes, promptFile, files, context);
    const read = from === undefined ? joinTokens([tokenizer.special.beginning, promptIds]) : promptIds;
    const { endOfText } = tokenizer.special;
    const { out, common, signal } = context;
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const stops = new StopTexts(stop);
    const stream = out.json ? process.stderr : process.stdout;
    /** Whether what was shown ends within a line. */
    let within = false;
    const show = (text: string): void => {
      if (text !== "") within = !text.endsWith("\n");
      stream.write(stream.isTTY ? visible(text) : text);
    };
    const tokens: number[] = [];
    let text = "";
    let over = false;
    const add = (piece: string): void => {
      text += piece;
      show(piece);
    };
    let progress: Progress | undefined;
    let begun = false;
    const begin = (): void => {
      if (begun) return;
      begun = true;
      progress?.finish();
      show(prompt);
    };
    const { ending, seed } = await beginningAt(from, model, parameters, memory, async (beginning) => {
      const { model: writer, state, place } = beginning;
      check(prompted || place?.unread, "E_TEXT", () => `${from} has read all of its text; give a --prompt to go on from`);
      if (place) checkStateTokenizer(from!, place, tokenizer);
      if (promptFile === undefined) begin(); // otherwise it would stand where the bar is
      const used = common.seedGiven ? common.seed : (place?.seed ?? common.seed);
      let end: Ending | undefined;
      const options = {
        maxTokens, temperature, topK, topP, seed: used, signal, state, place, stopToken: endOfText,
        onPrompt(done: number, total: number) {
          if (promptFile === undefined) return;
          progress ??= new Progress("prompt", total, { unit: tokenizer.kind === "bytes" ? "bytes" : "tokens" });
          progress.update(done);
        },
        onEnd: (last: Ending["state"], at: Ending["place"]) => void (end = { state: last, place: at }),
      };
      for await (const token of generate(writer, parameters, read, options)) {
        begin();
        tokens.push(token);
        over = token === endOfText;
        if (over) break;
        add(decoder.decode(stops.push(tokenizer.bytesOf(token) ?? UNKNOWN), { stream: true }));
        if (stops.found !== undefined) break;
      }
      if (to !== undefined && end)
        await saveEnding(to, beginning, parameters, { ...end, place: { ...end.place, tokenizer: tokenizer.hash } });
      disposeExcept(end?.state, state);
      return { ending: end?.place, seed: used };
    }).catch((error: unknown) => {
      if (within) show("\n"); // so that the error stands on a line of its own
      throw error;
    });
    begin();
    add(decoder.decode(stops.rest()));
    show("\n");
    const saved = to !== undefined && ending !== undefined;
    if (to !== undefined) out.note(saved ? `lenggen: the state is in ${to}`
      : `lenggen: interrupted while the prompt was read: ${to} is not written`);
    const ended = stops.found !== undefined ? "stop" : over ? "end of text"
      : signal.aborted && tokens.length < maxTokens ? "interrupted" : "length";
    const record = tokenizerRecord(files);
    out.document({
      checkpoint: folder, prompt, promptFile: promptFile ?? null, promptBytes: bytes.length,
      ...(record && { promptTokens: read.length, tokenizer: record }), text, tokens, seed, ended,
      stop: stops.found ?? null, state: from ?? null, savedState: saved ? to : null,
    });
  },
};

/** The prompt in tokens: one text, wherever it came from. */
async function promptTokens(bytes: TokenSource, file: string | undefined, files: TokenizerFiles, context: Context): Promise<TokenSource> {
  if (bytes.length === 0) return bytes;
  const name = file ?? "--prompt";
  return (await inTokens(textOf(name, [{ name, tokens: bytes }]), files, 1, context)).tokens;
}

/** Text for a terminal: a byte model may write control characters, which could do anything there. */
function visible(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, "\uFFFD");
}
