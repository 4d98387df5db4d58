import { describe, expect, it } from "vitest";
import { Progress } from "./progress";

/** A stream that keeps what is written, and a clock that is set by hand. */
function bench(isTTY: boolean, columns = 100) {
  const lines: string[] = [];
  let time = 0;
  const stream = { isTTY, columns, write: (text: string) => lines.push(text) } as unknown as NodeJS.WriteStream;
  return { lines, options: { unit: "steps", rate: { unit: "tokens", perUnit: 100 }, stream, now: () => time }, at: (ms: number) => (time = ms) };
}

describe("progress", () => {
  it("writes plain lines with rate and time left where there is no terminal, at most one each ten seconds", () => {
    const { lines, options, at } = bench(false);
    const progress = new Progress("train", 1000, options);
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
    at(1000);
    progress.update(5);
    at(1010);
    progress.update(6);
    progress.finish("done");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^\rtrain: \[={12} {12}\] 5\/10 steps, 500 tokens\/s, 1\.0 s left/);
    expect(lines[1]).toBe("\r\u001B[K");
    expect(lines[2]).toBe("train: done\n");
  });

  it("shortens the bar, and then leaves it out, so that the words stay whole", () => {
    const drawn = (columns: number): string => {
      const { lines, options, at } = bench(true, columns);
      const progress = new Progress("train", 10, options);
      at(1000);
      progress.update(5, "loss 2.000");
      return lines[0]!.replace("\r", "").replace("\u001B[K", "");
    };
    expect(drawn(73)).toBe("train: [=======       ] 5/10 steps, 500 tokens/s, 1.0 s left, loss 2.000");
    expect(drawn(60)).toBe("train: 5/10 steps, 500 tokens/s, 1.0 s left, loss 2.000");
  });

  it("counts the rate from where a resumed run begins", () => {
    const { lines, options, at } = bench(false);
    const progress = new Progress("train", 1000, options, 900);
    at(10_000);
    progress.update(950);
    expect(lines[0]).toContain("500 tokens/s, 10 s left");
  });
});
