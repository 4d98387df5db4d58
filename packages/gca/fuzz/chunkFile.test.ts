/** Fuzzes the reader of a chunk memory's header: it is either refused with E_FORMAT, or says what records there are. */
import { foldIn, hostRandom, key, LenggenError } from "@lenggen/kernels";
import { expect, it } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { drt, DRT_PRESETS } from "../src/index";
import { encodeHeader, type OpenedFile, readHeader } from "../src/node/chunkFile";

const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);

const { config } = drt(DRT_PRESETS["drt-tiny"]);
const SEEDS = [encodeHeader({ batch: 1, chunk: 16, kvHeads: 2, headSize: 32, config }, "f16"),
  encodeHeader({ batch: 3, chunk: 1, kvHeads: 1, headSize: 2, config: {} }, "f32")];

/** A file that is just these bytes. */
function fileOf(bytes: Uint8Array): OpenedFile {
  return {
    async read(into, position) {
      const part = bytes.subarray(position, position + into.length);
      into.set(part);
      return part.length;
    },
    write: () => Promise.reject(new Error("nothing is written")),
    truncate: () => Promise.reject(new Error("nothing is cut")),
    stat: async () => ({ size: bytes.length, links: 1 }),
    async close() {},
  };
}

it(`a header is refused or understood (${INPUTS} inputs, seed ${SEED})`, { timeout: 60_000 + INPUTS }, async () => {
  const counts = { accepted: 0, E_FORMAT: 0 };
  for (let i = 0; i < INPUTS; i++) {
    const bytes = mutate(hostRandom(foldIn(key(SEED), i)), SEEDS);
    try {
      const { format, start } = await readHeader(fileOf(bytes), "memory.chunks", bytes.length);
      expect(start).toBeLessThanOrEqual(bytes.length);
      expect([format.batch, format.chunk, format.kvHeads, format.headSize].every((size) => Number.isInteger(size) && size >= 1)).toBe(true);
      counts.accepted++;
    } catch (error) {
      if (!(error instanceof LenggenError && error.code === "E_FORMAT")) {
        throw new Error(`input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")})`, { cause: error });
      }
      counts.E_FORMAT++;
    }
  }
  console.log(`chunk memory: ${INPUTS} inputs: ${Object.entries(counts).map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
  for (const n of Object.values(counts)) expect(n).toBeGreaterThan(0);
});
