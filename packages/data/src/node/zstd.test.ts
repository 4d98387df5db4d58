import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wholeOf } from "@lenggen/kernels";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FileChunks } from "./fileChunks";
import { readText } from "./text";
import { unzstd } from "./zstd";
import { PACKED, PACKED_TEXT, skippableFrame, storedFrame } from "./zstd.fixture";

const folder = await mkdtemp(join(tmpdir(), "lenggen-zstd-"));
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => vi.stubEnv("LENGGEN_CACHE", join(folder, "cache")));
afterEach(() => vi.unstubAllEnvs());

async function unpack(bytes: Uint8Array): Promise<Buffer> {
  const path = join(folder, "some.zst");
  await writeFile(path, bytes);
  const pieces: Uint8Array[] = [];
  for await (const piece of unzstd(new FileChunks(path))) pieces.push(piece);
  return Buffer.concat(pieces);
}

const refusal = (bytes: Uint8Array) => unpack(bytes).then(() => "read", (error: Error) => error);
const random = Uint8Array.from({ length: 300_000 }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255);
const zeros = new Uint8Array(500_000);

describe("zstd", () => {
  it("is unpacked as its maker packed it", async () => {
    const text = await unpack(PACKED);
    expect({ length: text.length, sha256: createHash("sha256").update(text).digest("hex") }).toEqual(PACKED_TEXT);
  });

  it("may have many frames, empty ones, and some to be passed over, before, between and behind", async () => {
    const text = await unpack(PACKED);
    const parts = [skippableFrame(random), PACKED, storedFrame(new Uint8Array()), storedFrame(new Uint8Array()),
      skippableFrame(new Uint8Array(), 15), storedFrame(random), skippableFrame(Uint8Array.of(1), 3), storedFrame(zeros), PACKED,
      skippableFrame(zeros)];
    expect((await unpack(Buffer.concat(parts))).equals(Buffer.concat([text, random, zeros, text]))).toBe(true);
    const many = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => storedFrame(Uint8Array.of(i & 127))));
    expect(await unpack(many)).toHaveLength(20_000);
    expect(await unpack(skippableFrame(random))).toHaveLength(0);
  });

  it("is refused where it is cut, at any byte", async () => {
    const whole = Buffer.concat([PACKED, storedFrame(random.subarray(0, 9))]);
    for (let end = 0; end < whole.length; end += end < 20 || end > whole.length - 20 ? 1 : 13) {
      if (end === PACKED.length) continue;
      expect(await refusal(whole.subarray(0, end))).toMatchObject({
        code: "E_FORMAT", message: expect.stringMatching(end === 0 ? /is empty/ : /ends within a frame.*the file is cut/) as string,
      });
    }
  });

  const changed = (at: number, value: number): Uint8Array => {
    const copy = Uint8Array.from(PACKED);
    copy[at < 0 ? copy.length + at : at] = value;
    return copy;
  };
  const wide = storedFrame(random.subarray(0, 100), { windowLog: 31 });
  it.each<[string, Uint8Array, RegExp]>([
    ["a wrong checksum", changed(-1, PACKED.at(-1)! ^ 1), /is damaged in the frame that begins at byte 0/],
    ["a frame with less in it than its header says", Buffer.from("KLUv/SAQMQAAc3RvcmVk", "base64"), /is damaged in the frame/],
    ["a damaged block", changed(40, PACKED[40]! ^ 0x55), /is damaged in the frame/],
    ["a block of no type", changed(PACKED_TEXT.length > 255 ? 7 : 6, 0xff), /stands no block|ends within a frame/],
    ["another format", Buffer.from("PK\u0003\u0004 is what zip begins with"), /is no zstd$/],
    ["zeros behind it", Buffer.concat([PACKED, new Uint8Array(9)]),
      new RegExp(`something else follows its last frame, at byte ${PACKED.length}`)],
    ["something short behind it", Buffer.concat([PACKED, new Uint8Array(2)]), /ends within a frame/],
    ["a window of 2 GiB", wide, /the frame that begins at byte 0 looks back over 2048 MiB \(zstd --long\); at most 128 MiB are read/],
    ["an old version", changed(0, 0x25), /from before version 0\.8/],
    ["a dictionary", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1, 0x50, 7, 1, 0, 0), /packed with a dictionary/],
    ["a header of another kind", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 8, 0x50, 1, 0, 0), /header of a kind that is not known/],
  ])("is refused with %s", async (_, bytes, message) => {
    expect(await refusal(bytes)).toMatchObject({ code: "E_FORMAT", message: expect.stringMatching(message) as string });
  });
});

it("reads JSON lines and texts that zstd packed", async () => {
  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), storedFrame(Buffer.from(text)));
    return join(folder, name);
  };
  const lines = await readText(await write("some.jsonl.zst", '{"text":"one "}\n{"text":"two"}\n'));
  expect([...lines.documents].map(({ tokens }) => tokens.length)).toEqual([4, 3]);
  expect(new TextDecoder().decode(Uint8Array.from(wholeOf((await readText(await write("some.txt.zstd", "three"))).tokens)))).toBe("three");
});

it("says that a process has met too much that is damaged, before the library's memory ends", async () => {
  // The library keeps a window of 128 MiB for each; of its 2 GiB it never gets the last.
  const bad = storedFrame(Uint8Array.of(1, 2), { windowLog: 27 });
  bad[6] = (2 << 1) | 1 | (2 << 3); // a block that is packed, of two bytes that are no such
  const refusals: unknown[] = [];
  for (let i = 0; i < 12; i++) refusals.push(await refusal(bad));
  expect(refusals[0]).toMatchObject({ code: "E_FORMAT" });
  expect(refusals.at(-1)).toMatchObject({ code: "E_MEMORY", message: expect.stringContaining("begin another") as string });
});
