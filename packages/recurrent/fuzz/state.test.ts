/**
 * Fuzzes the reader of saved states: a file is refused with a stable code, or loads into a state that the model goes on from; and nothing
 * stays on the device.
 */
import { dispose, foldIn, hostRandom, key, LenggenError, loadState, memorySource, open, saveState } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { mutateSafetensors } from "../../kernels/fuzz/mutate";
import { mamba2 } from "../src/index";

const INPUTS = Math.ceil(Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000) / 10);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);
const CODES: ReadonlySet<string> = new Set(["E_FORMAT", "E_CONFIG", "E_WEIGHTS"]);

it(`a state is refused or goes on (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + 10 * INPUTS }, async () => {
  const device = await open("reference");
  const model = mamba2({ d_model: 2, n_layer: 1, vocab_size: 5, ssm_cfg: { layer: "Mamba2", d_state: 1, headdim: 2 } });
  const parameters = model.init(key(1), device);
  const state = model.initialState(1, device);
  const bytes: number[] = [];
  for await (const piece of saveState(model, parameters, state, { read: 3, unread: { token: 4, by: "model" }, seed: 0, drawn: 1 }))
    bytes.push(...piece);
  dispose(state);
  const seeds = [Uint8Array.from(bytes)];
  const before = device.memory().used;
  const counts = new Map<string, number>();
  for (let i = 0; i < INPUTS; i++) {
    const input = mutateSafetensors(hostRandom(foldIn(key(SEED), i)), seeds);
    let outcome = "loaded";
    try {
      const loaded = await loadState(model, parameters, memorySource(input, "fuzz"));
      expect(loaded.place.drawn).toBeGreaterThanOrEqual(0);
      dispose(loaded.state);
    } catch (error) {
      if (!(error instanceof LenggenError && CODES.has(error.code))) {
        throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(input).toString("base64")})`, { cause: error });
      }
      outcome = error.code;
    }
    expect(device.memory().used).toBe(before);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  console.log(`state: ${INPUTS} inputs: ${[...counts].map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
  for (const outcome of ["loaded", "E_FORMAT", "E_CONFIG"]) expect(counts.get(outcome) ?? 0).toBeGreaterThan(0);
  dispose(parameters);
  device.close();
});
