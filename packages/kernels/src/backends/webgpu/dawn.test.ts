import { describe, expect, it } from "vitest";
import { dawn } from "./dawn";

type Ways = NonNullable<Parameters<typeof dawn>[0]>;
const ways = (load: Ways["load"], probe: Ways["probe"] = async () => undefined): Ways => ({ load, probe });

describe("Node without WebGPU says why, and what to do", () => {
  it("when the package is missing", async () => {
    const missing = Object.assign(new Error("Cannot find package 'webgpu' imported from here"), { code: "ERR_MODULE_NOT_FOUND" });
    expect(await dawn(ways(() => Promise.reject(missing))))
      .toEqual({ gpu: null, reason: expect.stringMatching(/install the package that brings it: npm install webgpu$/) });
  });

  it("when the package has no binary for this machine, or its binary lacks a library", async () => {
    const broken = () => Promise.reject(new Error("libstdc++.so.6: version `GLIBCXX_3.4.30' not found"));
    expect(await dawn(ways(broken))).toEqual({ gpu: null, reason: expect.stringMatching(/webgpu does not load: libstdc.*GLIBCXX/) });
  });

  it("when the system's C library is one that the package has no binary for", async () => {
    const broken = () => Promise.reject(new Error("Error loading shared library ld-linux-x86-64.so.2: No such file or directory"));
    expect(await dawn({ ...ways(broken), isMusl: async () => true }))
      .toEqual({ gpu: null, reason: expect.stringMatching(/musl \(Alpine\).*node:20-slim/) });
  });

  it("when there is no GPU, for this system", async () => {
    const found = await dawn(ways(async () => ({ create: () => ({}) as GPU })));
    const words = process.platform === "linux" ? /Vulkan driver .*apt-get install libvulkan1.*VK_ICD_FILENAMES=/
      : /update the system and the GPU's driver/;
    expect(found).toEqual({ gpu: {}, withoutAdapter: expect.stringMatching(words) });
  });
});

describe("what Dawn prints where there is no GPU", () => {
  it("becomes part of the reason, and Dawn is not asked in this process", async () => {
    const create = (): never => { throw new Error("asked"); };
    const found = await dawn(ways(async () => ({ create }), async () => ({ adapter: false, words: "Found no drivers!" })));
    expect(found).toEqual({ gpu: null, reason: expect.stringMatching(/ \(Dawn says: Found no drivers!\)$/) });
  });

  it("does not keep an adapter that a probe found from being used", async () => {
    const gpu = {} as GPU;
    expect(await dawn(ways(async () => ({ create: () => gpu }), async () => ({ adapter: true })))).toMatchObject({ gpu });
  });
});

it("WebGPU is made once for the whole process, since Dawn crashes when it goes before its devices", async () => {
  const module = { create: () => ({}) as GPU };
  const [one, two] = [await dawn(ways(async () => module)), await dawn(ways(async () => module))];
  expect(one.gpu).toBe(two.gpu);
});
