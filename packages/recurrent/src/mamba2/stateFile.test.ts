import {
  type Device, devices, dispose, encodeSafetensors, generate, key, loadState, memorySource, open, openSafetensors, saveState,
  type StreamPlace,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Mamba2, mamba2, type Mamba2State } from "./model";

const CONFIG = { d_model: 16, n_layer: 2, vocab_size: 30, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };
const model = mamba2(CONFIG);

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** All bytes of a file. */
async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: number[] = [];
  for await (const piece of pieces) parts.push(...piece);
  return Uint8Array.from(parts);
}

describe.each(listings.filter(({ available }) => available))("a saved state on $name", ({ name }) => {
  let device: Device;
  let parameters: ReturnType<Mamba2["init"]>;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
    parameters = model.init(key(5), device);
  });
  afterAll(() => device.close());

  /** Generates, and gives the tokens and the file of the state behind them. */
  async function run(prompt: number[], maxTokens: number, from?: Uint8Array, options: Parameters<typeof generate>[3] = {}) {
    const made: number[] = [];
    let file = new Uint8Array();
    let ended: { state: Mamba2State; place: StreamPlace } | undefined;
    const loaded = from && (await loadState(model, parameters, memorySource(from, "saved"), { batch: 1 }));
    const { onEnd: _, ...others } = options;
    const given = { maxTokens, temperature: 0.9, topP: 0.95, ...loaded, ...others, onEnd: (state: Mamba2State, place: StreamPlace) =>
      (ended = { state, place }) };
    for await (const token of generate(model, parameters, prompt, given as never)) made.push(token);
    if (ended) file = await bytesOf(saveState(model, parameters, ended.state, ended.place)) as typeof file;
    dispose([loaded?.state, ended?.state]);
    return { made, file, place: ended?.place };
  }

  it("goes on to the tokens of one generation, also with nothing more to read", async () => {
    const before = device.memory().used;
    const whole = await run([1, 2, 3, 4, 5], 50, undefined, { seed: 7 });
    const first = await run([1, 2, 3, 4, 5], 20, undefined, { seed: 7 });
    const second = await run([], 30, first.file);
    expect([...first.made, ...second.made]).toEqual(whole.made);
    expect(second.place).toEqual(whole.place);
    expect(whole.place).toEqual({ read: 54, unread: { token: whole.made.at(-1), by: "model" }, seed: 7, drawn: 50 });
    expect(second.file).toEqual(whole.file); // every number of the state
    expect((await run([], 30, first.file, { seed: 8 })).made).not.toEqual(second.made);
    expect(device.memory().used).toBe(before);
  });

  it("holds a prompt that was only read, from which any number of texts can start", async () => {
    const read = await run([1, 2, 3, 4, 5], 0);
    expect([read.made, read.place]).toEqual([[], { read: 4, unread: { token: 5, by: "prompt" }, seed: 0, drawn: 0 }]);
    const wanted = await run([1, 2, 3, 4, 5], 12, undefined, { chunk: 4 }); // cut at the same place
    for (let time = 0; time < 2; time++) expect((await run([], 12, read.file)).made).toEqual(wanted.made);
    const more = await run([6, 7], 12, read.file);
    expect(more.made).toHaveLength(12);
    expect((await run([1], 0)).place).toEqual({ read: 0, unread: { token: 1, by: "prompt" }, seed: 0, drawn: 0 });
  });

  it("is what a loop that breaks off leaves", async () => {
    let place: StreamPlace | undefined;
    for await (const token of generate(model, parameters, [1, 2, 3], { onEnd: (state, at) => (dispose(state), (place = at)) }))
      if (token >= 0) break;
    expect(place).toMatchObject({ read: 3, drawn: 1 });
  });

  it("is refused, with the reason, by what it does not belong to", async () => {
    const before = device.memory().used;
    const { file } = await run([1, 2, 3], 4);
    const refused = (load: Promise<unknown>, code: string, message: RegExp) =>
      expect(load).rejects.toThrowError(expect.objectContaining({ code, message: expect.stringMatching(message) as string }));
    const source = (bytes: Uint8Array = file) => memorySource(bytes, "saved");
    const others = model.init(key(6), device);
    await refused(loadState(model, others, source()), "E_WEIGHTS", /^saved: is the state of a mamba2 with other parameters/);
    dispose(others);
    const changed = mamba2({ ...CONFIG, ssm_cfg: { ...CONFIG.ssm_cfg, d_state: 4 } });
    await refused(loadState(changed, parameters, source()), "E_CONFIG", /^saved: is of another model: its "ssm_cfg" is .*"d_state":8/);
    await refused(loadState({ ...model, family: "mamba3" as never }, parameters, source()), "E_CONFIG",
      /family "mamba2"; this one is a mamba3/);
    await refused(loadState(model, parameters, source(), { batch: 2 }), "E_SHAPE", /1 streams side by side; 2 were expected/);
    await refused(loadState(model, parameters, source(file.slice(0, -1))), "E_FORMAT", /./);
    const flipped = file.slice();
    flipped[file.length - 2]! ^= 1;
    await refused(loadState(model, parameters, source(flipped)), "E_FORMAT", /its numbers are not those that were saved/);
    const { metadata } = await openSafetensors(source());
    const state = model.initialState(1, device);
    const made = async (tree: unknown, about: Record<string, string>) =>
      source(await bytesOf(encodeSafetensors(tree, { ...metadata, ...about })));
    await refused(loadState(model, parameters, source(await bytesOf(encodeSafetensors(state)))), "E_FORMAT", /is no saved state/);
    await refused(loadState(model, parameters, await made(state, { version: "2" })), "E_FORMAT", /version "2"; this program reads 1/);
    await refused(loadState(model, parameters, await made({ layers: state.layers.slice(1) }, {})), "E_FORMAT",
      /layers\.1\.ssm should have shape .* but is missing/);
    await refused(loadState(model, parameters, await made({ ...state, more: state.layers[0]!.ssm }, {})), "E_FORMAT", /holds "more"/);
    await refused(loadState(model, parameters, await made(state, { place: '{"read":1}' })), "E_FORMAT", /place must have/);
    await refused(loadState(model, parameters,
      await made(state, { place: '{"read":1,"seed":0,"drawn":0,"unread":{"token":30,"by":"model"}}' })), "E_FORMAT", /below 30/);
    dispose(state);
    expect(device.memory().used).toBe(before);
  });
});
