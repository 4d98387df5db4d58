import { type Device, inLayout, open, type Weights } from "@lenggen/kernels";
import { openWeightsIn } from "@lenggen/kernels/node";
import { CHECKPOINT_HELP, configOf, findCheckpoint, inCheckpoint, piecesOf } from "../checkpoints";
import type { CommandSpec, Context } from "../command";
import { MODELS } from "../families";
import { readConfig } from "../jsonFiles";
import { checkFree } from "../convert/alone";
import { TARGETS, targetOf } from "../convert/targets";
import { bytes, counted, duration } from "../format";
import { oneOf } from "../parse";
import { Progress } from "../progress";
import { tokenizerNamed } from "../tokens";
import { UsageError } from "../usage";

interface Options {
  readonly dtype?: string;
  readonly layout?: string;
  readonly tokenizer?: string;
  readonly overwrite: boolean;
}

const MIB = 1 << 20;
/** Every layout that a family has, by the names of their programs. */
const LAYOUTS = [...new Set(Object.values(MODELS.families).flatMap(({ layouts = [] }) => layouts))];
const DTYPES = [...new Set(TARGETS.flatMap(({ dtypes }) => dtypes))];

export const convert: CommandSpec = {
  name: "convert",
  summary: "Write a checkpoint of any form as safetensors, or for llama.cpp: whole or not at all, in little memory, whatever its size.",
  examples: [
    "lenggen convert pytorch_model/ safe/",
    "lenggen convert RWKV-x070-World.pth rwkv7.safetensors --dtype f16",
    "lenggen convert hf:state-spaces/mamba2-130m mamba2-130m/",
    "lenggen convert runs/mended mended.gguf",
  ],
  define: (command) =>
    command
      .argument("<checkpoint>", CHECKPOINT_HELP)
      .argument("<to>", `what to write, told by its ending: ${TARGETS.map(({ extension, meaning }) =>
        (extension ? `*${extension}, ${meaning}` : meaning)).join("; ")}`)
      .option("--dtype <type>", `round the floats to it: ${DTYPES.join(", ")}; each keeps its type unless given (in a GGUF file: f32)`)
      .option("--layout <program>", `names and shapes as that program has them: ${LAYOUTS.join(", ")}; as they are unless given`)
      .option("--tokenizer <place>", "the tokenizer, where none lies beside the checkpoint or another is meant: a tokenizer.json or a "
        + "vocabulary of RWKV World (a file or its folder), hf:owner/name[@revision], or bytes")
      .option("--overwrite", "replace what is there already", false),
  async run(context, [from, to], given) {
    const { dtype, layout, tokenizer, overwrite } = given as unknown as Options;
    if (to === "") throw new UsageError("what is to be written has an empty name; give a folder or a file");
    const target = targetOf(to!);
    if (dtype !== undefined && !target.dtypes.includes(oneOf("--dtype", DTYPES)(dtype)))
      throw new UsageError(`--dtype ${dtype}: ${to} can't be of it, only of ${target.dtypes.join(" or ")}`);
    if (layout !== undefined) oneOf("--layout", LAYOUTS)(layout);
    if (layout !== undefined && target.ownLayout) throw new UsageError(`--layout: ${to} has a layout of its own`);
    if (tokenizer !== undefined && !target.takesTokenizer) {
      throw new UsageError(`--tokenizer is for what holds one, ${TARGETS.filter(({ takesTokenizer }) => takesTokenizer)
        .map(({ meaning }) => meaning).join(", or ")}; ${to} holds weights alone`);
    }
    const checkpoint = await findCheckpoint(from!, context);
    await checkFree({ to: to!, overwrite });
    const device = await open("reference");
    const opened = await openWeightsIn(checkpoint);
    const { out } = context;
    const begun = performance.now();
    const bar = progressOf(context, checkpoint);
    try {
      const config = await configOf(checkpoint);
      const named = tokenizer === undefined ? undefined : await tokenizerNamed(tokenizer, context);
      if (config !== undefined) await readConfig(config); // one that is damaged is nothing to copy
      const { weights, configText } = layout === undefined ? { weights: opened } : await relaid(layout, checkpoint, opened, config, device);
      const written = await target.write({
        checkpoint, weights, config, configText, to: to!, overwrite, dtype, tokenizer: named, counted: bar.counted,
        note: (line) => out.note(line),
      });
      bar.finish();
      const seconds = (performance.now() - begun) / 1000;
      const { files, types, bytes: size } = written;
      const kinds = Object.entries(types).map(([type, number]) => `${type} ${number}`).join(", ");
      const tensors = counted(Object.values(types).reduce((a, b) => a + b, 0), "tensor");
      out.print(`${checkpoint} -> ${to}: ${tensors} (${kinds}), ${bytes(size)} in ${duration(seconds)}`);
      for (const file of files) out.print(`  ${file}`);
      out.document({ checkpoint, to, files, types, bytes: size, seconds });
    } finally {
      bar.finish();
      await opened.close();
      device.close();
    }
  },
};

/** A checkpoint in another layout, read as it is asked for, with its `config.json`. Throws `E_CONFIG` where the layout has no place for it. */
async function relaid(
  layout: string, checkpoint: string, weights: Weights, config: string | undefined, device: Device,
): Promise<{ weights: Weights; configText?: string }> {
  return inCheckpoint(checkpoint, config, async () => {
    const { model, weights: read } = MODELS.inFile(config === undefined ? undefined : await readConfig(config), weights);
    const target = MODELS.make(model.config, { layout });
    const file = inLayout(model, read, target, device);
    return { weights: { ...file, close: () => weights.close() }, ...(target.checkpoint && { configText: target.checkpoint.config }) };
  });
}

/** A bar for what is read of a checkpoint and passes. */
function progressOf({ signal }: Context, checkpoint: string) {
  let progress: Progress | undefined;
  return {
    async *counted(chunks: AsyncIterable<Uint8Array>, size: number) {
      let done = 0;
      progress = new Progress("writing", Math.ceil(size / MIB), { unit: "MiB" });
      for await (const chunk of piecesOf(checkpoint, chunks)) {
        signal.throwIfAborted();
        yield chunk;
        progress.update(Math.floor((done += chunk.length) / MIB));
      }
    },
    finish: () => progress?.finish(),
  };
}
