/**
 * Opens every page of the built site in Chromium, from a folder of the server's and not its root, on a screen and on a phone: no
 * error on the console, no request that fails or leaves the server, nothing wider than the page, nothing that axe finds, in both
 * schemes; uses every live figure; searches by keyboard alone; and weighs the first page. Needs a build: `npm run docs`. Arguments
 * are paths of pages, to check those alone. `--pictures FOLDER` writes a PNG of each page, and of how it is printed.
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright";
import { findChromium } from "../../../scripts/webgpu.mjs";
import { useFigures } from "./figureUse.mjs";
import { docs } from "./pages.mjs";
import { serve } from "./serve.mjs";

const dist = join(docs, "dist");
const BASE = "/in/a/folder/";
const FIRST_PAGE_BYTES = 200_000;
const SIZES = [{ name: "screen", width: 1280, height: 900 }, { name: "phone", width: 390, height: 844 }];
/** Reports look like those of the first seed, and those of families like those of Mamba-2. */
const LIKE_OTHERS = /^results\/reports\/(.*families.*|.*seed-[1-9].*)\.html$/;
/** Pages that are made of the sources, many and all alike: axe looks at them on a light screen alone. */
const MADE = /^reference\/[a-z]+\/./;
/** WebGPU by software where there is no GPU, as in the tests of the packages. */
const ARGUMENTS = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
  "--enable-dawn-features=disable_workgroup_init"];

const problems = [];

function* pagesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) yield* pagesIn(join(folder, entry.name));
    else if (entry.name.endsWith(".html")) yield relative(dist, join(folder, entry.name));
  }
}

/** What runs in the page: everything that is wider than it, by how it is written. */
function wide() {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("article *")].filter((element) => element.getBoundingClientRect().right > width + 1
    && !element.closest(".scrolls")).slice(0, 3).map((element) => element.outerHTML.slice(0, 80));
}

async function axeProblems(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, help, nodes }) =>
    `axe: ${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 120)).join(" | ")}`);
}

/** A tab that reports what goes wrong in it as `where()`. */
async function watched(context, where) {
  const page = await context.newPage();
  page.on("console", (message) => {
    // A report is one file, without an icon.
    const icon = message.location().url.endsWith("/favicon.ico");
    if (message.type() === "error" && !icon) problems.push(`${where()}: console: ${message.text().slice(0, 300)}`);
  });
  page.on("pageerror", (error) => problems.push(`${where()}: ${error.message.slice(0, 300)}`));
  page.on("requestfailed", (request) => problems.push(`${where()}: ${request.url()} fails: ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) problems.push(`${where()}: it asks for ${request.url()}`);
  });
  return page;
}

async function checkPages(browser, paths, size, pictures) {
  const context = await browser.newContext({ viewport: size, colorScheme: "light" });
  let at = "";
  const page = await watched(context, () => `${at} (${size.name})`);
  for (at of paths) {
    await page.goto(url + at, { waitUntil: "load" });
    const wider = await page.evaluate(wide);
    if (wider.length > 0) problems.push(`${at} (${size.name}): wider than the page: ${wider.join(" | ")}`);
    const isAlike = MADE.test(at);
    for (const scheme of size.name === "screen" && !isAlike ? ["light", "dark"] : ["light"]) {
      await page.emulateMedia({ colorScheme: scheme });
      const found = isAlike && size.name === "phone" ? [] : await axeProblems(page);
      for (const problem of found) problems.push(`${at} (${size.name}, ${scheme}): ${problem}`);
      if (pictures) await page.screenshot({ path: picture(pictures, at, `${size.name}-${scheme}`), fullPage: true });
    }
    await page.emulateMedia({ colorScheme: "light" });
    if (size.name !== "screen") continue;
    for (const problem of await useFigures(page)) problems.push(`${at}: ${problem}`);
    if (!pictures) continue;
    await page.emulateMedia({ media: "print" });
    await page.setViewportSize({ width: 720, height: 1000 });
    await page.screenshot({ path: picture(pictures, at, "print"), fullPage: true });
    await page.emulateMedia({ media: "screen" });
    await page.setViewportSize(size);
  }
  await context.close();
}

const picture = (folder, path, kind) => join(folder, `${path.replace(/\.html$/, "").replaceAll("/", "-")}-${kind}.png`);

/** By keyboard alone, on the first page: the skip link, then search, an arrow and Enter lead to a page. */
async function checkKeyboard(browser) {
  const page = await watched(await browser.newContext(), () => "by keyboard");
  await page.goto(`${url}index.html`);
  await page.keyboard.press("Tab");
  const skips = await page.evaluate(() => document.activeElement?.className === "skip");
  if (!skips) problems.push("by keyboard: the first stop is not the skip link");
  await page.keyboard.press("/");
  await page.locator("dialog.search input").waitFor();
  await page.keyboard.type("state passing");
  await page.locator("dialog.search li a").first().waitFor();
  for (const problem of await axeProblems(page)) problems.push(`search: ${problem}`);
  await page.keyboard.press("ArrowDown");
  await Promise.all([page.waitForURL((address) => address.pathname !== `${BASE}index.html`), page.keyboard.press("Enter")]);
}

/** What the first page loads, compressed by nobody. */
async function checkWeight(browser) {
  const page = await (await browser.newContext()).newPage();
  let bytes = 0;
  page.on("response", async (response) => (bytes += Number(response.headers()["content-length"] ?? 0)));
  await page.goto(`${url}index.html`, { waitUntil: "networkidle" });
  if (bytes > FIRST_PAGE_BYTES) problems.push(`the first page loads ${bytes} bytes, and may load ${FIRST_PAGE_BYTES}`);
  return bytes;
}

const args = process.argv.slice(2);
const at = args.indexOf("--pictures");
const [, pictures] = at === -1 ? [] : args.splice(at, 2);
if (pictures) mkdirSync(pictures, { recursive: true });
const { path: executablePath, reason } = findChromium();
if (!existsSync(join(dist, "index.html"))) throw new Error("the site is not built yet: npm run docs");
if (!executablePath) {
  console.log(`docs: the pages were not opened: not run: ${reason}`);
  process.exit(0);
}
const started = performance.now();
const { server, url } = await serve(dist, { base: BASE });
const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
const paths = args.length > 0 ? args : [...pagesIn(dist)].filter((path) => !LIKE_OTHERS.test(path));
await Promise.all(SIZES.map((size) => checkPages(browser, paths, size, pictures)));
if (args.length === 0) await checkKeyboard(browser);
const bytes = await checkWeight(browser);
await browser.close();
server.close();
for (const problem of problems) console.error(`docs: ${problem}`);
if (problems.length > 0) process.exitCode = 1;
console.log(`docs: ${paths.length} pages at two widths, ${problems.length} problems; the first page loads ${(bytes / 1000).toFixed(0)} kB `
  + `(${((performance.now() - started) / 1000).toFixed(0)} s)`);
