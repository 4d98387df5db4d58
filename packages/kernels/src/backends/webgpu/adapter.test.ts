/** What is said where WebGPU is missing, in pages that are only played: of Node's own texts see dawn.test.ts. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { devices, open } from "../../open";

vi.mock("../../platform", () => import("../../platform.browser"));
afterEach(() => vi.unstubAllGlobals());

/** A page with these surroundings. */
function page(navigator: object, isSecureContext = true): void {
  vi.stubGlobal("navigator", navigator);
  vi.stubGlobal("isSecureContext", isSecureContext);
}

/** A browser whose adapter is this; `info`, `limits` and features are few. */
function browserWith(adapter: object | null, userAgent?: string): void {
  page({ userAgent, gpu: { requestAdapter: async () => adapter } });
}

function adapter(more: object = {}): object {
  return {
    info: { vendor: "acme", architecture: "one", device: "", description: "", isFallbackAdapter: false },
    features: new Set<string>(), limits: { maxBufferSize: 1024, maxComputeWorkgroupStorageSize: 16384 },
    requestDevice: () => Promise.reject(new Error("the driver said no")), ...more,
  };
}

const listing = async () => (await devices({ fallback: false })).find(({ name }) => name === "webgpu")!;

/** Expects that the device is listed as absent for a reason, and that opening it says the same. */
async function expectAbsent(reason: RegExp): Promise<void> {
  expect(await listing()).toMatchObject({ available: false, reason: expect.stringMatching(reason) });
  await expect(open("webgpu", { fallback: false })).rejects.toMatchObject({
    code: "E_DEVICE_UNAVAILABLE", message: expect.stringMatching(new RegExp(`^device webgpu can't be opened: .*${reason.source}`)),
  });
}

const CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";

describe("a page without WebGPU says why, and what to do", () => {
  it("when it did not come over https", async () => {
    page({ userAgent: CHROME }, false);
    await expectAbsent(/did not come over https.*serve it over https, or open it from http:\/\/localhost/);
  });

  it.each([
    ["Chrome on Linux", CHROME, /chrome:\/\/flags\/#enable-unsafe-webgpu and chrome:\/\/flags\/#enable-vulkan/],
    ["Chrome on Windows", CHROME.replace("X11; Linux x86_64", "Windows NT 10.0; Win64; x64"),
      /Chrome and Edge have it from 113 .*update the browser/],
    ["Chrome on Android", CHROME.replace("X11; Linux x86_64", "Linux; Android 10; K"), /Android 121/],
    ["Edge", `${CHROME.replace("X11; Linux x86_64", "Windows NT 10.0; Win64; x64")} Edg/156.0.0.0`,
      /edge:\/\/flags\/#enable-unsafe-webgpu/],
    ["Firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", /dom\.webgpu\.enabled in about:config/],
    ["Safari", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
      /Safari has it from 26/],
    ["something else", "curious/1.0", /Chrome and Edge have it from 113, Safari from 26, Firefox from 141/],
  ])("in %s", async (_, userAgent, remedy) => {
    page({ userAgent });
    await expectAbsent(new RegExp(`this browser has no WebGPU, or has it turned off; .*${remedy.source}`));
  });

  it("when no GPU is given", async () => {
    browserWith(null);
    await expectAbsent(/has WebGPU, but gives it no GPU: hardware acceleration is off [^#]*say why\); update the driver/);
  });

  it("when no GPU is given by Chrome on Linux, which has WebGPU turned off for most of them", async () => {
    browserWith(null, CHROME);
    await expectAbsent(/hardware acceleration is off .*on Linux it is on for some GPUs only: turn on chrome:\/\/flags\/#enable-unsafe-webgpu and chrome:\/\/flags\/#enable-vulkan.*or update the driver/);
    browserWith(null, CHROME.replace("X11; Linux x86_64", "Linux; Android 10; K"));
    await expectAbsent(/hardware acceleration is off [^#]*say why\); update the driver/);
  });

  it("when asking for a GPU fails", async () => {
    page({ gpu: { requestAdapter: () => Promise.reject(new Error("out of luck")) } });
    await expectAbsent(/WebGPU refused an adapter: out of luck/);
  });

  it("when the only adapter is software", async () => {
    browserWith(adapter({ info: { vendor: "google", architecture: "swiftshader", device: "", description: "", isFallbackAdapter: true } }));
    await expectAbsent(/the only adapter is google swiftshader, which is software.*option fallback/);
    expect((await devices({ fallback: true })).find(({ name }) => name === "webgpu")).toMatchObject({ available: true, reason: "" });
  });
});

describe("a page with an adapter", () => {
  it("lists what the adapter has", async () => {
    browserWith(adapter({ features: new Set(["subgroups", "shader-f16"]) }));
    expect(await listing()).toMatchObject({
      available: true, reason: "", details: { adapter: "acme one", largestBuffer: 1024 },
    });
  });

  it("names the feature that was asked for and is missing", async () => {
    browserWith(adapter());
    await expect(open("webgpu", { webgpu: { features: ["subgroups"] } })).rejects.toMatchObject({
      code: "E_DEVICE_UNAVAILABLE", message: expect.stringMatching(/adapter acme one lacks the feature subgroups/),
    });
  });

  it("says what the adapter said when it gives no device", async () => {
    browserWith(adapter());
    await expect(open("webgpu")).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE",
      message: "device webgpu can't be opened: the driver said no" });
  });
});
