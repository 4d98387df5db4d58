/** Linear attention with a decay per channel against the PyTorch recurrences of flash-linear-attention in float64 (test/fixtures). */
import { it } from "vitest";
import { openSafetensors } from "../safetensors";
import { vjp } from "../tape";
import { dispose, scope, type Tensor } from "../tensor";
import { eachDevice, expectClose, readFixture } from "../testing";
import { gatedLinearAttention } from "./gatedLinearAttention";
import { transpose } from "./view";

/** [B,H,T,.] and [B,T,H,.] */
const swapped = (t: Tensor): Tensor => transpose(t, [0, 2, 1, 3]);
const same = (t: Tensor): Tensor => t;

const CASES = [
  { file: "gla", decay: "gk", layout: same, scale: 12 ** -0.5, bonus: false },
  { file: "rwkv6", decay: "w", layout: swapped, scale: 1, bonus: true },
];

eachDevice("gatedLinearAttention against flash-linear-attention", (device) => {
  it.each(CASES)("agrees in outputs, final state and all gradients: $file", async ({ file, decay, layout, scale, bonus }) => {
    const precise = device.dtypes.includes("f64");
    const fixture = await openSafetensors(await readFixture(`${file}.safetensors`));
    const golden = await fixture.loadAll(device, { dtype: precise ? "f64" : "f32" });
    const results = scope(() => {
      const names = ["q", "k", "v", decay, "initial_state", ...(bonus ? ["u"] : [])];
      const inputs = Object.fromEntries(names.map((name) => [name, golden[name]!]));
      const { outputs, pullback } = vjp((given: typeof inputs) => {
        const [q, k, v, a] = [given["q"]!, given["k"]!, given["v"]!, given[decay]!].map(layout) as [Tensor, Tensor, Tensor, Tensor];
        const out = gatedLinearAttention({ q, k, v, a, bonus: given["u"], state: given["initial_state"] }, { scale, chunk: 32 });
        return { y: layout(out.y), state: out.state };
      }, inputs);
      const gradients = pullback({ y: golden["d_out"]!, state: golden["d_final_state"]! });
      const named = Object.entries(gradients).map(([name, gradient]) => [`d_${name}`, gradient] as const);
      return [["out", outputs.y] as const, ["final_state", outputs.state] as const, ...named];
    });
    for (const [name, actual] of results) {
      expectClose(await actual.read(), await golden[name]!.read(), precise ? 1e-12 : 1e-5, name);
    }
    dispose([results, golden]);
  });
});
