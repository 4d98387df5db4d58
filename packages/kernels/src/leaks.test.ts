import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { open } from "./open";
import { keep, leakedTensors, scope } from "./tensor";
import { zeros } from "./ops/memory";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Finalizers run some time after a collection. */
async function collected(done: () => boolean): Promise<void> {
  for (let i = 0; i < 50 && !done(); i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

it("frees and counts the tensors that were forgotten, and only those", async () => {
  const device = await open("reference");
  const held = zeros(device, [10]);
  (() => {
    for (let i = 0; i < 5; i++) zeros(device, [1000]);
    zeros(device, [1000]).dispose();
  })();
  expect(device.memory().used).toBe(4 * 5010);
  await collected(() => leakedTensors() >= 5);
  expect(leakedTensors()).toBe(5);
  expect(device.memory().used).toBe(40);
  held.dispose();
});

it("does so with tensors that outlived their scope", async () => {
  const device = await open("reference");
  const before = leakedTensors();
  (() => {
    scope(() => {
      keep(zeros(device, [1000]));
      zeros(device, [1000]); // the scope frees it
      return scope(() => zeros(device, [1000]));
    });
  })();
  expect(device.memory().used).toBe(4 * 2000);
  await collected(() => leakedTensors() >= before + 2);
  expect(leakedTensors()).toBe(before + 2);
  expect(device.memory().used).toBe(0);
});
