/** The rates of decay that families begin with when a range is asked for, read back through each family's own formula. */
import { key, open, scope } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { RECURRENT_FAMILIES } from "./families";

const RANGE = [1e-4, 1e-2] as const;
const fla = { hidden_size: 64, num_hidden_layers: 2, vocab_size: 16, intermediate_size: 8 };
const rwkv = { n_embd: 64, n_layer: 2, vocab_size: 16, head_size: 32 };
const softplus = (x: number) => Math.log1p(Math.exp(x));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** A configuration, the parameter that decides the rates, and the rate of an element. */
const CASES = [
  { family: "gla", config: { ...fla, num_heads: 2 }, name: "attn.gk_proj.1.bias", rate: (b: number) => softplus(-b) / 16 },
  { family: "gated_deltanet", config: { ...fla, num_heads: 64, head_dim: 2 }, name: "attn.dt_bias", rate: softplus },
  { family: "rwkv6", config: rwkv, name: "att.time_decay", rate: Math.exp },
  { family: "rwkv7", config: rwkv, name: "att.w0", rate: (w: number) => Math.exp(-0.5) * sigmoid(w) },
] as const;

describe.each(CASES)("rates of decay of a fresh $family", ({ family, config, name, rate }) => {
  const { make } = RECURRENT_FAMILIES[family];
  const given = { model_type: family, ...config, decay_init_range: RANGE };

  it("are spread evenly over the logarithm of the range", async () => {
    const device = await open("reference");
    const parameters = scope(() => make(given).init(key(1), device, "f64"));
    const found = Object.entries(parameters).filter(([path]) => path.endsWith(name));
    expect(found).toHaveLength(2);
    const rates = (await Promise.all(found.map(async ([, tensor]) => [...await tensor.read()]))).flat().map(rate);
    expect(Math.min(...rates)).toBeGreaterThan(RANGE[0] * (1 - 1e-9));
    expect(Math.max(...rates)).toBeLessThan(RANGE[1] * (1 + 1e-9));
    const mean = rates.reduce((sum, r) => sum + Math.log10(r), 0) / rates.length;
    expect(Math.abs(mean + 3)).toBeLessThan((4 * 2) / Math.sqrt(12 * rates.length)); // four standard deviations of a uniform mean
    device.close();
  });

  it("stand in the saved configuration, which says nothing of them where they are the published ones", () => {
    expect(make(given).config).toMatchObject({ decay_init_range: RANGE });
    expect(make(make(given).config).config).toEqual(make(given).config);
    expect(make({ ...given, decay_init_range: null }).config).not.toHaveProperty("decay_init_range");
  });

  it.each([
    [[0.1, 0.01], /decay_init_range: 0\.1 must not be above 0\.01/],
    [[0, 0.01], /decay_init_range\.0: expected a finite number above 0/],
    [0.01, /decay_init_range: expected a list of two, or null, got 0\.01/],
  ])("can't be %j", (range, message) =>
    expect(() => make({ ...given, decay_init_range: range }))
      .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});

it("Mamba-1's -A begins spread over its own range, from least to most in each channel", async () => {
  const config = { d_model: 16, n_layer: 1, vocab_size: 16, ssm_cfg: { d_state: 5, A_init_range: [0.01, 1] } };
  const model = RECURRENT_FAMILIES.mamba.make(config);
  expect(model.config).toMatchObject({ ssm_cfg: { A_init_range: [0.01, 1] } });
  const device = await open("reference");
  const [, aLog] = Object.entries(scope(() => model.init(key(1), device, "f64"))).find(([path]) => path.endsWith("A_log"))!;
  const values = [...await aLog.read()].slice(5, 10).map(Math.exp);
  for (const [n, a] of values.entries()) expect(a).toBeCloseTo(0.01 * 100 ** (n / 4), 12);
  device.close();
  expect(() => RECURRENT_FAMILIES.mamba.make({ ...config, ssm_cfg: { A_init_range: [1, 0.5] } }))
    .toThrow(/A_init_range: 1 must not be above 0\.5/);
});

it("RWKV-7 begins with no decay faster than it can have", () =>
  expect(() => RECURRENT_FAMILIES.rwkv7.make({ model_type: "rwkv7", ...rwkv, decay_init_range: [0.01, 0.7] }))
    .toThrow(/decay_init_range \[0\.01, 0\.7\] must end below 0\.6065, the fastest decay of RWKV-7/));
