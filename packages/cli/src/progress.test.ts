import { describe, expect, it } from "vitest";
import { Progress } from "./progress";

/** A stream that keeps what is written, and a clock that is set by hand. */
function bench(isTTY: boolean, columns = 100) {
  const lines: string[] = [];
  let time = 0;
  const stream = { isTTY, columns, write: (text: string) => lines.push(text) } as unknown as NodeJS.WriteStream;
  return { lines, options: { unit: "steps", rate: { unit: "tokens", perUnit: 100 }, stream, terminal: "xterm", now: () => time },
    at: (ms: number) => (time = ms) };
}

describe("progress", () => {
  it("writes plain lines with rate and time left where there is no terminal, at most one each ten seconds", () => {
    const { lines, options, at } = bench(false);
    const progress = new Progress("train", 1000, options);
    at(0);
    progress.update(0);
    for (let second = 1; second <= 30; second++) {
      at(second * 1000);
      progress.update(second * 10, "loss 2.000");
    }
    expect(lines).toEqual([
      "train: 50/1,000 steps, 1,000 tokens/s, 1 min 35 s left, loss 2.000\n",
      "train: 150/1,000 steps, 1,000 tokens/s, 1 min 25 s left, loss 2.000\n",
      "train: 250/1,000 steps, 1,000 tokens/s, 1 min 15 s left, loss 2.000\n",
    ]);
  });

  it("redraws one line on a terminal and takes it away in the end", () => {
    const { lines, options, at } = bench(true);
    const progress = new Progress("train", 10, options);
    progress.update(0, "compiling kernels");
    at(1000);
    progress.update(1);
    at(1800);
    progress.update(5);
    at(1810);
    progress.update(6);
    progress.finish("done");
    expect(lines).toHaveLength(5);
    expect(lines[0]).toMatch(/^\rtrain: \[ {24}\] 0\/10 steps, compiling kernels/);
    expect(lines[2]).toMatch(/^\rtrain: \[={12} {12}\] 5\/10 steps, 500 tokens\/s, 1\.0 s left/);
    expect(lines[3]).toBe("\r\u001B[K");
    expect(lines[4]).toBe("train: done\n");
  });

  it("shortens the bar, and then leaves it out, so that the words stay whole", () => {
    const drawn = (columns: number): string => {
      const { lines, options, at } = bench(true, columns);
      const progress = new Progress("train", 10, options);
      progress.update(1);
      at(800);
      progress.update(5, "loss 2.000");
      return lines[1]!.replace("\r", "").replace("\u001B[K", "");
    };
    expect(drawn(73)).toBe("train: [=======       ] 5/10 steps, 500 tokens/s, 1.0 s left, loss 2.000");
    expect(drawn(60)).toBe("train: 5/10 steps, 500 tokens/s, 1.0 s left, loss 2.000");
  });

  it("counts the rate from the first step on: what came before it, earlier runs or compiled kernels, says nothing", () => {
    const { lines, options, at } = bench(false);
    const progress = new Progress("train", 1000, options, 900);
    at(60_000);
    progress.update(901);
    at(70_000);
    progress.update(951);
    at(80_000);
    progress.update(1000);
    expect(lines).toEqual(["train: 901/1,000 steps\n", "train: 951/1,000 steps, 500 tokens/s, 9.8 s left\n",
      "train: 1,000/1,000 steps, 495 tokens/s\n"]);
  });

  it("tells no rate of units that are not alike", () => {
    const { lines, options, at } = bench(true);
    const progress = new Progress("bench", 10, { ...options, alike: false });
    for (const done of [0, 1, 2]) {
      progress.update(done, "matmul");
      at(1000 * (done + 1));
    }
    expect(lines.at(-1)).toMatch(/\] 2\/10 steps, matmul/);
  });

  it("takes 80 columns where the terminal says that it has none, as in a container", () => {
    const { lines, options, at } = bench(true, 0);
    const progress = new Progress("train", 1000, options);
    progress.update(1);
    at(1000);
    progress.update(11, "loss 2.000");
    expect(lines.at(-1)).toBe("\rtrain: [          ] 11/1,000 steps, 1,000 tokens/s, 1 min 39 s left, loss 2.000\u001B[K");
  });

  it("writes plain lines on a terminal that can't erase one", () => {
    const { lines, options, at } = bench(true);
    const progress = new Progress("train", 1000, { ...options, terminal: "dumb" });
    progress.update(0);
    at(6000);
    progress.update(10);
    progress.finish();
    expect(lines).toEqual(["train: 10/1,000 steps\n"]);
  });
});
