/** The built page in a headless Chromium, for the tests. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { afterAll, expect, onTestFinished } from "vitest";
import { preview } from "vite";
import type { Plan } from "../src/shared/plan";

const here = fileURLToPath(new URL("..", import.meta.url));
const { findChromium } = (await import(new URL("../../../scripts/webgpu.mjs", import.meta.url).href)) as { findChromium(): { path?: string;
  reason?: string } };
const found = findChromium();

/** Why there is no browser to test in; undefined when there is one. */
export const absent = found.reason;
if (absent) console.warn(`tests of examples/train-in-a-tab in a browser do not run: ${absent}`);

const QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];
/**
 * WebGPU in software, which is the same on every machine. SwiftShader compiles the zeros that a group's memory starts with for longer
 * than everything else; kernels write before they read.
 */
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-dawn-features=disable_workgroup_init"];

if (!absent && !existsSync(join(here, "dist/index.html"))) throw new Error("the page is not built: run npm test, or npm run build");
const server = absent ? undefined : await preview({ root: here, preview: { port: 0 }, logLevel: "warn" });
const browsers: Browser[] = [];
afterAll(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await server?.close();
});

/** A fresh browser with a storage of its own. */
export async function openBrowser({ webgpu = true } = {}): Promise<BrowserContext> {
  const browser = await chromium.launch({ executablePath: found.path!, args: ["--headless=new", ...QUIET, ...(webgpu ? WEBGPU : [])] });
  browsers.push(browser);
  return browser.newContext({ viewport: { width: 1280, height: 900 } });
}

/** Where the built page is. */
const built = server?.resolvedUrls!.local[0];

/** The page, once its worker has answered. An error or a warning on its console, or its worker's, fails the test. */
export async function openPage(context: BrowserContext, query = "?fallback", place = built): Promise<Page> {
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
  onTestFinished(() => expect(errors).toEqual([]));
  await page.goto(new URL(query, place).href);
  await page.locator("#status").filter({ hasNotText: "Looking for" }).waitFor();
  return page;
}

/** Settings that software trains in seconds. */
export const SMALL: Partial<Plan> = { model: "mini-byte", context: 32, batch: 2, steps: 50, laterSteps: 20 };

/** English of a kind, the same every time. */
export function sampleText(bytes: number): string {
  const words = "the old whale sailed under a grey sky and no man on deck spoke while rain fell upon the quiet sea".split(" ");
  let state = 1;
  let text = "";
  while (text.length < bytes) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += `${words[state % words.length]}${state % 11 === 0 ? ".\n" : " "}`;
  }
  return text.slice(0, bytes);
}

export async function chooseText(page: Page, text: string, name = "words.txt"): Promise<void> {
  await page.locator("#text-file").setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
  await page.locator("#text-name", { hasText: name }).waitFor();
}

export async function setPlan(page: Page, plan: Partial<Plan>): Promise<void> {
  await page.locator("#settings > summary").click();
  for (const [name, value] of Object.entries(plan)) {
    const field = page.locator(`#setting-${name}`);
    if (name === "model") await field.selectOption(String(value));
    else await field.fill(String(value));
  }
  await page.locator("#settings > summary").click();
}

/** Presses the main button and waits until it trains. */
export async function start(page: Page): Promise<void> {
  await Promise.all([page.locator("#main", { hasText: "Stop" }).waitFor(), page.locator("#main").click()]);
}

/** Waits until the training under way has ended, and gives the last words about it. */
export async function trained(page: Page): Promise<string> {
  const status = page.locator("#status");
  await status.filter({ hasText: /^(Done|Stopped at)/ }).waitFor({ timeout: 240_000 });
  expect(await page.locator("#problem").isVisible()).toBe(false);
  return status.innerText();
}

/** Presses Save, unpacks what is downloaded with the system's tar, and gives the folder. */
export async function saved(page: Page): Promise<{ archive: string; folder: string }> {
  const scratch = mkdtempSync(join(tmpdir(), "lenggen-tab-"));
  onTestFinished(() => rmSync(scratch, { recursive: true }));
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#save").click()]);
  const archive = join(scratch, download.suggestedFilename());
  await download.saveAs(archive);
  execFileSync("tar", ["-xf", archive, "-C", scratch]);
  return { archive, folder: join(scratch, "train-in-a-tab") };
}

/** The losses of a run directory's metrics.jsonl, in nats, by step. */
export function lossesOf(run: string): number[] {
  const lines = readFileSync(join(run, "metrics.jsonl"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as { loss?: number });
  return lines.flatMap(({ loss }) => loss ?? []);
}
