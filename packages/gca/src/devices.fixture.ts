/** What the tests of models on every device share. */
import { devices, type Tensor } from "@lenggen/kernels";
import { expect } from "vitest";

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** The devices of this machine, with the widest type of each and the deviation that it may show. */
export const deviceCases = listings.filter(({ available }) => available).map(({ name }) =>
  ({ name, ...(name === "reference" ? { dtype: "f64", tolerance: 1e-9 } as const : { dtype: "f32", tolerance: 1e-4 } as const) }));

/** Largest difference, as a share of the largest number. Expects equal shapes. */
export async function deviation(actual: Tensor, wanted: Tensor): Promise<number> {
  const [a, b] = [await actual.read(), await wanted.read()];
  expect(actual.shape).toEqual(wanted.shape);
  let [scale, worst] = [1e-30, 0];
  for (let i = 0; i < b.length; i++) {
    scale = Math.max(scale, Math.abs(b[i]!));
    worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  }
  return worst / scale;
}
