import { expect, it } from "vitest";
import { eachDevice, expectError } from "../testing";
import { valueAndGradient } from "../tape";
import { scope, tensor, type Tensor } from "../tensor";
import { addInto } from "./addInto";
import { sum } from "./reduce";

eachDevice("addInto", (device) => {
  it("adds a multiple in place, into a window of a buffer too", async () => {
    const target = tensor(device, [1, 2, 3, 4], [2, 2]);
    scope(() => {
      const x = tensor(device, [10, 20], [2]);
      addInto(target.window([2], 2), x, -0.5);
      addInto(target.window([2]), x);
    });
    expect([...await target.read()]).toEqual([11, 22, -2, -6]);
    target.dispose();
  });

  it("refuses what does not fit, and what a tape records", () => {
    const pair = (shape = [2], dtype: "f32" | "i32" = "f32"): Tensor => tensor(device, [1, 2], shape, dtype);
    expectError(() => addInto(pair(), pair([1, 2])), "E_SHAPE", /x \[1, 2\] must have the target's shape \[2\]/);
    expectError(() => addInto(pair(), pair([2], "i32")), "E_DTYPE", /x is i32 and the target f32/);
    expectError(() => addInto(pair([2], "i32"), pair([2], "i32")), "E_DTYPE");
    const recorded = (x: Tensor) => {
      addInto(pair(), x);
      return { loss: sum(x) };
    };
    expectError(() => valueAndGradient(recorded, pair()), "E_SCOPE", /use add/);
  });
});
