/** Bad input gives one clear line on stderr and exit code 1 or 2, and loses nothing. */
import { spawnSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lenggen } from "./lenggen";
import { CONFIG, trainBase, type Workplace, workplace } from "./trained";

let place: Workplace;
beforeAll(async () => {
  place = await workplace();
  await trainBase(place);
  await writeFile(join(place.folder, "empty.txt"), "");
  await writeFile(join(place.folder, "short.txt"), "too short");
  await mkdir(join(place.folder, "nothing"));
});
afterAll(() => place.remove());

/** Runs a command that must fail, and checks the manner. */
async function fails(args: readonly string[], code: 1 | 2, message: RegExp): Promise<void> {
  const result = await lenggen(args, { cwd: place.folder });
  expect(result.error).toMatch(/^lenggen: .+ \[E_[A-Z_]+\]$/);
  expect(result.error).toMatch(message);
  expect(result.stderr).not.toMatch(/^\s+at /m);
  expect(result.stdout).toBe("");
  expect(result.code).toBe(code);
}

const train = (...more: string[]) => ["train", ...place.training, "--steps", "2", "--out", "runs/new", ...more];
const evaluate = (checkpoint: string, ...more: string[]) =>
  ["eval", "loss-by-position", "--checkpoint", checkpoint, "--text", "book.txt", "--lengths", "64", "--train-length", "32", ...more];

describe("unknown names get the nearest one", () => {
  it("command", () => fails(["trian"], 2, /no command is named "trian" \(did you mean "train"\?\).*\[E_UNKNOWN_NAME\]/));
  it("option", () => fails(["doctor", "--jsn"], 2, /unknown option '--jsn' \(did you mean "--json"\?\)/));
  it("device", () => fails(train("--device", "gpu"), 2, /no device is named "gpu" \(did you mean "cpu"\?\).*\[E_DEVICE_UNKNOWN\]/));
  it("device of doctor", () => fails(["doctor", "--device", "refrence"], 2, /did you mean "reference"\?/));
  it("method", () => fails(train("--method", "state-pasing"), 2, /no method is named "state-pasing" \(did you mean "state-passing"\?\)/));
  it("setting of a method", () => fails(train("--method", "tbtt", "--set", "rest-probability=1"), 2,
    /tbtt has no setting "rest-probability" \(did you mean "reset-probability"\?\)/));
  it("measure", () => fails(["eval", "loss-by-positon", "--checkpoint", "runs/base", "--lengths", "64"], 2,
    /no measure is named .* \(did you mean "loss-by-position"\?\)/));
  it("experiment", () => fails(["reproduce", "unexplored-state"], 2, /did you mean "unexplored-states"\?/));
  it("model of an experiment that has its own", () => fails(["reproduce", "gca-retrieval", "--model", "tiny-byte"], 2,
    /--model: gca-retrieval compares models of its own; leave the option out/));
  it("checkpoint of an experiment that trains its own", () => fails(["reproduce", "unexplored-states", "--checkpoint", "runs/base"], 2,
    /--checkpoint: unexplored-states trains its models itself; leave the option out/));
  it("experiment without what it is about", () => fails(["reproduce", "published"], 2, /published needs --checkpoint/));
  it("field of texts that have none", () => fails(["reproduce", "published", "--checkpoint", "runs/base", "--field", "text"], 2,
    /--field: the built-in texts have no fields; give --text or --held-out/));
  it("method of an experiment", () => fails(["reproduce", "published", "--checkpoint", "runs/base", "--methods", "tbtt,state-pasing"], 2,
    /no method is named "state-pasing" \(did you mean "state-passing"\?\)/));
  it("model that the experiment is not about", () => fails(["reproduce", "unexplored-states", "--model", "drt-tiny"], 2,
    /--model: a model of family drt has no recurrent state/));
  it("preset", () => fails(["reproduce", "unexplored-states", "--preset", "quik"], 2,
    /no preset is named "quik" \(did you mean "quick"\?\)/));
  it("model of an experiment", () => fails(["reproduce", "gca-retrieval", "--only", "drt-1,drt-3"], 2,
    /no model is named "drt-3" \(did you mean "drt-[12]"\?\)/));
  it("model of an experiment whose models can't be done apart",
    () => fails(["reproduce", "unexplored-states", "--only", "tbtt"], 2,
      /--only: the models of unexplored-states follow from one another/));
  it("preset of another experiment",
    () => fails(["reproduce", "gca-retrieval", "--preset", "ful"], 2, /no preset is named "ful" \(did you mean "full"\?\)/));
  it("model preset", () => fails(["train", "--model", "tiny-bite", "--out", "runs/new"], 2,
    /no model preset is named "tiny-bite" \(did you mean "tiny-byte"\?\)/));
  it("optimiser", () => fails(train("--optimizer", "moun"), 2,
    /no optimiser is named "moun" \(did you mean "muon"\?\); there are adamw, muon/));
  it("setting of an optimiser", () =>
    fails(train("--optimizer", "muon", "--optimizer-set", "momentun=0.9"), 2,
      /optimiser muon has no setting "momentun" \(did you mean "momentum"\?\)/));
  it("setting of an optimiser that has a flag of its own", () =>
    fails(train("--optimizer-set", "beta1=0.8"), 2, /--optimizer-set beta1=0.8: optimiser adamw has no setting "beta1"; it has none/));
  it("loss", () => fails(train("--loss", "state-nrm"), 2, /no loss is named "state-nrm" \(did you mean "state-norm"\?\)/));
  it("setting of a loss", () => fails(train("--loss", "state-norm", "--loss-set", "weight=-1"), 2,
    /--loss-set weight: "-1" must be a number from 0/));
  it("task", () => fails(train("--task", "key-retreival"), 2, /no task is named "key-retreival" \(did you mean "key-retrieval"\?\)/));
  it("setting of a task", () => fails(train("--task", "two-hop", "--task-set", "name-lenght=3"), 2,
    /--task-set name-lenght=3: task two-hop has no setting "name-lenght" \(did you mean "name-length"\?\)/));
  it("setting of a measure", () => fails(evaluate("runs/base", "--set", "keys=3"), 2,
    /--set keys=3: loss-by-position has no setting "keys"; it has none/));
  it("tier", () => fails(evaluate("runs/base", "--memory", "disc"), 2, /no --memory is named "disc" \(did you mean "disk"\?\)/));
  it("kernel", () => fails(["bench", "matmull"], 2, /did you mean "matmul"\?/));
});

describe("wrong usage", () => {
  it.each(["0", "NaN", "-4", "1.5", "1k,0", "", "4x"])("length %j", (lengths) =>
    fails(["eval", "loss-by-position", "--checkpoint", "runs/base", `--lengths=${lengths}`], 2,
      /is not a length; give a whole number of at least 1/));
  it("threads", () => fails(["doctor", "--threads", "0"], 2, /--threads: "0" is not a whole number from 1/));
  it("seed", () => fails(["doctor", "--seed", "x"], 2, /--seed: "x" is not a whole number/));
  it("learning rate", () => fails(train("--learning-rate", "fast"), 2, /--learning-rate: "fast" must be a number/));
  it("a share of no task", () => fails(train("--task-share", "0.5"), 2, /--task-share says how to train on a task; give one with --task/));
  it("settings of no task", () => fails(train("--task-set", "keys=2"), 2, /--task-set says how to train on a task; give one with --task/));
  it("a setting out of range", () => fails(train("--task", "two-hop", "--task-set", "name-length=0"), 2,
    /--task-set name-length: "0" must be a whole number of at least 1/));
  it("depths outside of the text",
    () => fails(evaluate("runs/base", "--depths", "0.5,2"), 2, /--depths: "2" is not a number from 0 to 1/));
  it("depths of a measure without",
    () => fails(evaluate("runs/base", "--depths", "0.5"), 2, /--depths: loss-by-position hides nothing at a depth/));
  it("a chunk memory of a model without chunks", () => fails(evaluate("runs/base", "--memory", "disk"), 2,
    /--memory disk: a model of family mamba2 has no chunks to keep there; leave it out/));
  it("a share above 1", () => fails(train("--task", "recall", "--task-share", "1.5"), 2,
    /--task-share: "1.5" is not a number above 0 and at most 1/));
  it("samples longer than the context", () => fails(train("--task", "recall", "--task-shortest", "33"), 2,
    /--task-shortest 33 is longer than the context of 32/));
  it("a task that does not fit the context", () => fails(train("--task", "passkey"), 2, /task passkey: rows of .* can't hold a prompt/));
  it("a task for contiguous text",
    () => fails(train("--task", "recall", "--method", "tbtt"), 1, /take a method of independent sequences.*\[E_CONFIG\]/));
  it("a missing option", () => fails(["train"], 2, /required option '--out <folder>' not specified/));
  it("weights of no type", () => fails(["generate", "runs/base", "--prompt", "x", "--weights", "f8"], 2,
    /no --weights is named "f8".*; there are f32, f16/));
  it("an empty stop text", () => fails(["generate", "runs/base", "--prompt", "x", "--stop", ""], 2, /--stop: the text is empty/));
  it("a missing argument", () => fails(["generate", "--prompt", "x"], 2, /missing required argument 'checkpoint'/));
});

describe("texts", () => {
  it("empty", () => fails(train("--text", "empty.txt"), 1, /text "empty.txt" is empty \[E_TEXT\]/));
  it("missing", () => fails(train("--text", "absent.txt"), 1, /text "absent.txt": there is no such file.*\[E_MISSING\]/));
  it("a folder without text", () => fails(train("--text", "nothing"), 1, /folder "nothing" holds no file of a text/));
  it("shorter than the context", () => fails(train("--text", "short.txt"), 1, /has 9 bytes; this needs at least 33.*\[E_TEXT\]/));
  it("shorter than the length asked for",
    () => fails(evaluate("runs/base", "--lengths", "1M"), 1, /has 2120 bytes; this needs at least 1048577 \[E_TEXT\]/));
  it("an empty prompt", () => fails(["generate", "runs/base", "--prompt", ""], 1, /--prompt is empty.*\[E_TEXT\]/));
});

describe("run directories", () => {
  it("that exist are refused and left alone", async () => {
    const before = await readFile(join(place.folder, "runs/base/run.json"), "utf8");
    await fails(train("--out", "runs/base"), 1, /runs\/base holds a run already .*\[E_EXISTS\]/);
    expect(await readFile(join(place.folder, "runs/base/run.json"), "utf8")).toBe(before);
  });
  it("that hold something else are refused", () => fails(train("--out", "."), 1, /\[E_EXISTS\]/));
  it("with other settings are not resumed", () => fails(train("--out", "runs/base", "--resume", "--seed", "5", "--steps", "6"), 1,
    /seed: 0 there, 5 here.*\[E_CONFIG\]/));
  it("that cannot be written", () => fails(train("--out", "book.txt/run"), 1, /\[E_IO\]/));
  it("where no folder can be made", () => fails(train("--out", process.platform === "linux" ? "/proc/run" : "book.txt/run/deep"), 1,
    /can't be .*\[E_IO\]/));
  it("without a name", () => fails(train("--out", ""), 1, /empty path \[E_IO\]/));
  it("on a full disk: the error names it, and nothing half-written stays", async ({ skip }) => {
    const disk = join(place.folder, "disk");
    await mkdir(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], { encoding: "utf8" });
    if (mounted.status !== 0) {
      console.warn(`the test of a full disk does not run: no small disk can be mounted here `
        + `(${mounted.stderr?.trim() || "no mount program"})`);
      skip();
    }
    try {
      await fails(train("--out", "disk/run"), 1, /the disk is full.*\[E_IO\]/);
      expect(await readdir(join(disk, "run/checkpoints")).catch(() => [])).toEqual([]);
    } finally {
      spawnSync("umount", [disk]);
    }
  });
});

/** A copy of the base checkpoint with changed files. */
async function damaged(name: string, change: (weights: Buffer) => Uint8Array, config: unknown = CONFIG): Promise<string> {
  const folder = join(place.folder, name);
  await cp(join(place.folder, "runs/base/checkpoints/step-6"), folder, { recursive: true });
  await writeFile(join(folder, "model.safetensors"), change(await readFile(join(folder, "model.safetensors"))));
  await writeFile(join(folder, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
  return name;
}

/** The file with its JSON header changed. */
function withHeader(change: (header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>) => void) {
  return (file: Buffer): Uint8Array => {
    const length = Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.subarray(8, 8 + length).toString()) as Parameters<typeof change>[0];
    change(header);
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([size, text, file.subarray(8 + length)]);
  };
}

const firstTensor = <T>(header: Record<string, T>): T => Object.entries(header).find(([name]) => name !== "__metadata__")![1];

describe("checkpoints", () => {
  it("missing", () => fails(evaluate("absent"), 1, /checkpoint absent: there is no such folder or file \[E_MISSING\]/));
  it("a folder without one", () => fails(evaluate("nothing"), 1, /nothing holds no checkpoint.*\[E_MISSING\]/));
  it("truncated", async () => fails(evaluate(await damaged("truncated", (file) => file.subarray(0, file.length - 100))), 1,
    /truncated.*\[E_FORMAT\]/));
  it("overlapping offsets", async () => fails(evaluate(await damaged("overlapping", withHeader((header) => {
    const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([, about]) => about);
    const [start, end] = tensors[0]!.data_offsets;
    const twin = tensors.find((other) => other !== tensors[0] && other.data_offsets[1] - other.data_offsets[0] === end - start)
      ?? tensors[1]!;
    twin.data_offsets = [start, start + twin.data_offsets[1] - twin.data_offsets[0]];
  }))), 1, /\[E_FORMAT\]/));
  it("offsets out of range", async () => fails(evaluate(await damaged("outside", withHeader((header) => {
    const about = firstTensor(header);
    about.data_offsets = [about.data_offsets[0] + 1e9, about.data_offsets[1] + 1e9];
  }))), 1, /\[E_FORMAT\]/));
  it("a huge header", async () => fails(evaluate(await damaged("huge", (file) => {
    file.writeBigUInt64LE(2n ** 60n, 0);
    return file;
  })), 1, /\[E_FORMAT\]/));
  it("wrong shapes", async () => fails(evaluate(await damaged("misshapen", withHeader((header) => {
    firstTensor(header).shape.reverse();
    firstTensor(header).shape.push(1);
  }))), 1, /\[E_WEIGHTS\]/));
  it("NaN", async () => fails(evaluate(await damaged("nan", (file) => {
    file.writeFloatLE(Number.NaN, 8 + Number(file.readBigUInt64LE(0))); // the first number; the last ones are a copy that is not read
    return file;
  })), 1, /NaN or infinite.*\[E_WEIGHTS\]/));
  it("a config that does not fit its weights", async () =>
    fails(evaluate(await damaged("unfit", (file) => file, { ...CONFIG, d_model: 32 })), 1, /the config asks for.*\[E_WEIGHTS\]/));
  it("a config that makes no model", async () =>
    fails(evaluate(await damaged("senseless", (file) => file, { ...CONFIG, n_layer: -1 })), 1, /n_layer.*\[E_CONFIG\]/));
  it("a config of an unknown family", async () =>
    fails(evaluate(await damaged("stranger", (file) => file, { ...CONFIG, model_type: "lama" })), 1,
      /no family of models has the model_type "lama".*mamba2, .*drt, transformer.*\[E_CONFIG\]/));
  it("a config with a number that makes no sense where it stands", async () => fails(
    evaluate(await damaged("endless", (file) => file, JSON.stringify(CONFIG).replace(/"d_model":\d+/, '"d_model":Infinity'))), 1,
    /d_model: expected .*, got Infinity.*\[E_CONFIG\]/));
  it("a config that is not JSON", async () => fails(evaluate(await damaged("garbled", (file) => file, "{")), 1,
    /config.json: not valid JSON at character 1: .*\[E_FORMAT\]/));
});

describe("configurations of other families", () => {
  const GLA = { model_type: "gla", hidden_size: 16, num_hidden_layers: 1, num_heads: 2, vocab_size: 256, intermediate_size: 16 };
  it.each([
    ["of no family", { ...GLA, model_type: "gated-deltanet" },
      /no family of models has the model_type "gated-deltanet" \(did you mean "gated_deltanet"\?\)/],
    ["with a misspelt field", { ...GLA, num_heads: undefined, num_head: 2 }, /there is no field num_head \(did you mean "num_heads"\?\)/],
    ["with a setting that is not supported", { ...GLA, feature_map: "relu" }, /feature_map: expected null, got "relu"/],
    ["with sizes that do not divide", { ...GLA, num_heads: 3 },
      /expand_k 0\.5 of hidden_size 16 makes a width of 8, which num_heads 3 must divide/],
  ])("%s", async (name, config, message) => {
    const file = `${name.replaceAll(" ", "-")}.json`;
    await writeFile(join(place.folder, file), JSON.stringify(config));
    await fails(train("--model", file), 1, new RegExp(`${message.source}.*\\[E_CONFIG\\]`));
  });
  it("whose states have no noise", () => fails(train("--model", "sliding-window-tiny", "--method", "random-noise"), 1,
    /random-noise: a model of family transformer has no recurrent state to give noise to; train it with zero \[E_CONFIG\]/));
  it("with a state of another one", async () => {
    await writeFile(join(place.folder, "gla.json"), JSON.stringify(GLA));
    const run = (...args: string[]) => lenggen(args, { cwd: place.folder });
    const training = [...place.training, "--model", "gla.json", "--steps", "1", "--warmup", "0", "--out", "runs/gla"];
    expect((await run("train", ...training)).code).toBe(0);
    expect((await run("generate", "runs/gla", "--prompt", "It was", "--tokens", "2", "--save-state", "gla.state")).code).toBe(0);
    await fails(["generate", "runs/base", "--state", "gla.state", "--tokens", "2"], 1,
      /gla\.state: is the state of a model of family "gla"; this one is a mamba2.*\[E_CONFIG\]/);
  });
});

it("more memory than the machine has", async () => {
  await writeFile(join(place.folder, "giant.json"), JSON.stringify({ ...CONFIG, d_model: 2 ** 20, n_layer: 64 }));
  await fails(train("--model", "giant.json"), 1, /\[E_MEMORY\]/);
}, 120_000);
