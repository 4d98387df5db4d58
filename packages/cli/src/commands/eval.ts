import { check, isJsonObject, joinTokens } from "@lenggen/kernels";
import { recordedCount } from "../begun";
import { keepingChunks, type Tier, TIERS, TIERS_HELP } from "../chunks";
import type { CommandSpec } from "../command";
import { count, counted, lengthName } from "../format";
import { MEASURES } from "../measures";
import { CHECKPOINT_HELP, findCheckpoint, loadCheckpoint, settingsOfRun, WEIGHTS, WEIGHTS_HELP } from "../checkpoints";
import { oneOf, parseLength, parseLengths, realNumber, wholeNumber } from "../parse";
import { Progress } from "../progress";
import { repeated } from "../settings";
import { describeTaskSettings, taskOptions } from "../taskSettings";
import { hubReferenceOf } from "@lenggen/data/node";
import { addFieldOption, openText, TEXT_HELP } from "../texts";
import { addTokenizerOption, bytesPerToken, inTokens, tokenizerFor, tokenizerRecord, tokenSizes, unitOf } from "../tokens";

interface Options {
  readonly checkpoint: string;
  readonly lengths: number[];
  readonly text: string;
  readonly field?: string;
  readonly tokenizer?: string;
  readonly trainLength?: number;
  readonly samples?: number;
  readonly ends?: number;
  readonly set?: readonly string[];
  readonly depths?: number[];
  readonly memory: Tier;
  readonly chunk?: number;
  readonly batch?: number;
  readonly weights: (typeof WEIGHTS)[number];
}

const names = Object.keys(MEASURES);

export const evaluate: CommandSpec = {
  name: "eval",
  summary: "Measure a trained model at lengths far beyond its training.",
  examples: ["lenggen eval loss-by-position --checkpoint runs/base --lengths 1k,4k,64k",
    "lenggen eval passkey --checkpoint runs/base --lengths 256,1k --samples 64 --json",
    "lenggen eval key-retrieval --checkpoint runs/keys --set name-length=5 --depths 0.1,0.5,0.9 --lengths 1M --batch 1 --memory disk"],
  define: (command) =>
    addTokenizerOption(addFieldOption(command), "the checkpoint's, or bytes for a model of bytes")
      .addHelpText("after", `\nMeasures:\n${names.map((name) => `  ${name}: ${MEASURES[name]!.summary}`).join("\n")}\n\nTasks, `
        + `and their settings for --set:\n${describeTaskSettings().join("\n")}`)
      .argument("<measure>", `one of ${names.join(", ")}`)
      .requiredOption("--checkpoint <place>", CHECKPOINT_HELP)
      .requiredOption("--lengths <list>", "lengths in tokens, such as 1k,4k,64k: bytes for a model of bytes",
        (text: string) => parseLengths(text, "--lengths"))
      .option("--text <source>", `held-out text, for measures that read one: ${TEXT_HELP}`, "moby-dick")
      .option("--train-length <n>", "length that the model was trained on; known for run directories",
        (text: string) => parseLength(text, "--train-length"))
      .option("--samples <n>", "sequences of text (at most as many as fit), or samples of a task", wholeNumber("--samples", 1))
      .option("--ends <n>", "tasks, models with segments: how many end before a prompt's last token, 0 for none; 1 unless given",
        wholeNumber("--ends", 0, 2 ** 10))
      .option("--set <name=value>", "a setting of the task, see below; can be repeated", repeated)
      .option("--depths <list>",
        "tasks that hide something: the depths to ask at, from 0 (the start) to 1, such as 0.1,0.5,0.9, with so many samples at each; "
          + "each sample draws its own unless given",
        (text: string) => text.split(",").map(realNumber("--depths", { minimum: 0, maximum: 1 })))
      .option("--memory <tier>", TIERS_HELP, oneOf("--memory", TIERS), "device")
      .option("--chunk <n>", "tokens per forward pass; changes speed and memory, not results", wholeNumber("--chunk", 1))
      .option("--batch <n>", "sequences side by side", wholeNumber("--batch", 1))
      .option("--weights <type>", WEIGHTS_HELP, oneOf("--weights", WEIGHTS), "f32"),
  async run(context, [name], given) {
    const { checkpoint, lengths, text: source, field, tokenizer: named, trainLength, samples, ends, set = [], depths, memory, chunk, batch,
      weights } = given as unknown as Options;
    const measure = MEASURES[oneOf("measure", names)(name!)]!;
    const options = taskOptions(name!, measure.settings, set, "--set");
    check(depths === undefined || measure.hasDepth, "E_ARGUMENT", () =>
      `--depths: ${name} hides nothing at a depth of its own; leave it out`);
    const folder = await findCheckpoint(checkpoint, context);
    const least = measure.leastText(lengths);
    const bytesText = least === 0 ? undefined : await openText(source, least, { field, signal: context.signal });
    const { model, parameters, about } = await loadCheckpoint(folder, await context.openDevice(), weights);
    context.out.note(`${folder}: ${about}`);
    const tokenizer = await tokenizerFor(model, named, folder, context);
    const inBytes = tokenizer.tokenizer.kind === "bytes";
    check(inBytes || !measure.bytesOnly, "E_CONFIG", () =>
      `${name} speaks bytes, and ${folder} has the tokenizer ${tokenizer.tokenizer.name}; it is for models of bytes`);
    const text = bytesText && await inTokens(bytesText, tokenizer, least, context);
    const { out, common, signal } = context;
    const trainedOn = trainLength ?? (await trainedLength(folder));
    let progress: Progress | undefined;
    const { result, lines, read } = await keepingChunks(model, memory, ".", (reader) => measure.run({
      model: reader,
      parameters,
      text: text?.tokens ?? joinTokens([]),
      tokenBytes: inBytes ? undefined : tokenSizes(tokenizer),
      lengths,
      trainLength: trainedOn,
      count: samples ?? measure.count,
      seed: common.seed,
      ends,
      options,
      depths,
      chunk,
      batch,
      signal,
      onProgress(done, total) {
        progress ??= new Progress(name!, total, { unit: "tokens" });
        progress.update(done);
      },
    }));
    progress?.finish();
    out.print(`${name} of ${folder}${text ? ` on ${text.source}` : ""}, to ${lengthName(Math.max(...lengths))}`);
    for (const line of lines) out.print(line);
    if (text && read) {
      const { sequences, tokens } = read;
      const fewer = sequences < (samples ?? measure.count) ? "; no more of them fit" : "";
      const all = `${count(text.tokens.length)} ${unitOf(text)}`;
      out.print(`read: ${counted(sequences, "sequence")}, ${count(tokens)} of the text's ${all}${fewer}`);
      const scored = measure.scores ? "; bits per byte are of the tokens scored" : "";
      if (!inBytes) out.print(`bytes per token: ${count(bytesPerToken(text))} in the text${scored}`);
    }
    const record = tokenizerRecord(tokenizer);
    const hub = hubReferenceOf(folder);
    out.document({ measure: name, checkpoint: folder, ...(hub && { hub }), text: text?.source ?? null,
      ...(text?.field && { field: text.field }), lengths,
      ...(text && read && { read: inBytes ? { sequences: read.sequences, bytes: read.tokens, textBytes: text.bytes }
        : { ...read, textTokens: text.tokens.length, textBytes: text.bytes } }),
      ...(record && { tokenizer: record }), ...(set.length > 0 && { settings: options }), weights, memory, seed: common.seed, result });
  },
};

/** The training length that a run directory records. */
async function trainedLength(checkpoint: string): Promise<number | undefined> {
  const { data } = (await settingsOfRun(checkpoint)) ?? {};
  return isJsonObject(data) ? recordedCount(data, "context") : undefined;
}
