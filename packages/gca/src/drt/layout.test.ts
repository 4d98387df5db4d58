import { describe, expect, it } from "vitest";
import { layoutOf } from "./layout";

/** A layout as letters: t a token, L a landmark, | between runs. */
function drawn(tokens: number, size: number, pending = 0, ends: number[] = []): string {
  return layoutOf(tokens, size, pending, ends).runs.map((run) =>
    `${"t".repeat(run.tokens)}${run.closed ? "L" : ""}`.repeat(run.pieces)).join("|");
}

describe("layout", () => {
  it.each([
    ["whole chunks are one run", drawn(8, 4), "ttttLttttL"],
    ["what is left stays open", drawn(10, 4), "ttttLttttL|tt"],
    ["a running chunk is filled first", drawn(10, 4, 3), "tL|ttttLttttL|t"],
    ["a running chunk stays open", drawn(2, 4, 1), "tt"],
    ["an end closes the running chunk", drawn(6, 4, 0, [6]), "ttttL|ttL"],
    ["an end in the middle begins a new chunk", drawn(9, 4, 0, [2]), "ttL|ttttL|ttt"],
    ["an end where a chunk ends changes nothing", drawn(8, 4, 0, [4]), "ttttLttttL"],
    ["an end where nothing has begun changes nothing", drawn(4, 4, 0, [0]), "ttttL"],
    ["an end at the start closes what is pending", drawn(4, 4, 2, [0]), "L|ttttL"],
    ["an end repeated makes an empty chunk", drawn(6, 4, 0, [6, 6]), "ttttL|ttL|L"],
    ["also where a chunk ends", drawn(8, 4, 0, [8, 8]), "ttttLttttL|L"],
    ["and in the middle, several times", drawn(5, 4, 0, [2, 2, 2]), "ttL|LL|ttt"],
  ])("%s", (_, drawing, wanted) => expect(drawing).toBe(wanted));

  it("tells chunk lengths, borders and what is pending", () => {
    expect(layoutOf(10, 4, 3, [7])).toMatchObject({ length: 13, closed: [4, 4, 2], borders: [2, 7, 10], pending: 3 });
    expect(layoutOf(3, 4, 0)).toMatchObject({ length: 3, closed: [], borders: [], pending: 3 });
  });

  it.each([[[7]], [[-1]], [[3, 2]], [[1.5]]])("refuses ends %j of six tokens", (ends) =>
    expect(() => layoutOf(6, 4, 0, ends)).toThrow(expect.objectContaining({ code: "E_ARGUMENT" })));
});
