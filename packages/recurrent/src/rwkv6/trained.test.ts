/**
 * A trained RWKV-6 by others (shared data, models: tiny-rwkv-6v0-1m of RWKV/rwkv.cpp, MIT) against the logits that its program gave.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import { type Device, dispose, linear, open, type Parameters, reshape, scope, tensor, tokenTensor, transpose } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviceCases } from "../golden.fixture";
import { type Ggmf, readGgmf } from "./ggmf.fixture";
import { type Rwkv6, rwkv6 } from "./model";

// As data URLs, which Node and browsers can read.
const FILES = import.meta.glob<string>("../../../../../shared/data/models/*-6v0-1m*.bin", { query: "?url&inline", import: "default" });
const FOLDER = "../../../../../shared/data/models";
const bytesOf = async (name: string) => new Uint8Array(await (await fetch(await FILES[`${FOLDER}/${name}`]!())).arrayBuffer());
const missing = Object.keys(FILES).length < 2;
if (missing) console.warn("tests of the trained RWKV-6 do not run: the shared data (data/models) does not lie beside the repository");

/** Matrices of the authors that rwkv.cpp keeps transposed. */
const TRANSPOSED = /\.(?:time_maa_w1|time_maa_w2|time_decay_w1|time_decay_w2)$/;

function modelOf({ vocabulary, width, layers, tensors }: Ggmf): Rwkv6 {
  const shapeOf = (part: string) => tensors.get(`blocks.0.${part}`)!.shape;
  return rwkv6({
    model_type: "rwkv6", n_layer: layers, n_embd: width, vocab_size: vocabulary, head_size: shapeOf("att.time_faaaa")[1]!,
    dim_ffn: shapeOf("ffn.key.weight")[0]!, d_mix_lora: shapeOf("att.time_maa_w2")[2]!, d_decay_lora: shapeOf("att.time_decay_w1")[0]!,
  });
}

function parametersOf({ tensors }: Ggmf, model: Rwkv6, device: Device): Parameters {
  return Object.fromEntries(Object.entries(model.parameterShapes()).map(([name, shape]) => {
    const { shape: stored, values } = tensors.get(name)!;
    const axes = stored.map((_, i) => i);
    const read = tensor(device, values, stored);
    return [name, reshape(TRANSPOSED.test(name) ? transpose(read, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]) : read, shape)];
  }));
}

describe.skipIf(missing).each(deviceCases)("the trained RWKV-6 on $name", ({ name }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  it.each([["at once", [3]], ["token by token", [1, 1, 1]]])("gives the logits that its own program gives, %s", async (_, cut) => {
    const file = readGgmf(await bytesOf("tiny-rwkv-6v0-1m-FP32.bin"));
    const expected = new Float32Array((await bytesOf("expected-logits-6v0-1m.bin")).buffer);
    const model = modelOf(file);
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(model.parameterShapes()).sort());
    const prompt = [...new TextEncoder().encode('"in')];
    const logits = scope(() => {
      const parameters = parametersOf(file, model, device);
      let state: ReturnType<Rwkv6["initialState"]> | undefined;
      let hidden;
      let from = 0;
      for (const length of cut) {
        ({ hidden, state } = model.forward(parameters, tokenTensor(device, prompt.slice(from, from += length), [1, length], 256), state));
      }
      return linear(hidden!, model.head(parameters));
    });
    const values = (await logits.read()).slice(-256);
    dispose(logits);
    const worst = Math.max(...expected.map((x, i) => Math.abs(x - values[i]!)));
    console.log(`trained RWKV-6 on ${name}: logits differ by ${worst}`);
    expect(worst).toBeLessThan(1e-5);
  });
});

describe("files of rwkv.cpp", () => {
  const header = [0x67676d66, 101, 4, 2, 1, 0];
  const words = (list: readonly number[]) => new Uint8Array(Uint32Array.from(list).buffer);
  it("are read", () => {
    const file = readGgmf(new Uint8Array([...words([...header, 2, 1, 0, 2, 3]), 97, ...new Uint8Array(24)]));
    expect([file.vocabulary, file.width, file.layers, file.tensors.get("a")!.shape]).toEqual([4, 2, 1, [3, 2]]);
  });

  it.each([
    [words([1, 101, 4, 2, 1, 0]), /begins with 1/],
    [words([0x67676d66, 101, 4, 2, 1, 1]), /numbers of type 1/],
    [words(header.slice(0, 3)), /ends at byte 12/],
    [words([...header, 1, 0, 0, 99]), /ends at byte/],
  ])("are refused when they are something else", (bytes, message) =>
    expect(() => readGgmf(bytes)).toThrow(expect.objectContaining({ code: "E_FORMAT", message: expect.stringMatching(message) })));
});
