/** The page as `npm run dev` serves it: sources that Vite compiles one by one, and the packages as they are. */
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { describe, expect, it, onTestFinished } from "vitest";
import { absent, chooseText, openBrowser, openPage, sampleText, setPlan, SMALL, start, trained } from "./page";

describe.skipIf(absent !== undefined)("Vite's development server", () => {
  it("serves a page that trains, and whose console stays empty", async () => {
    const server = await createServer({ root: fileURLToPath(new URL("..", import.meta.url)), server: { port: 0 }, logLevel: "warn" });
    onTestFinished(() => server.close());
    await server.listen();
    const page = await openPage(await openBrowser(), "?fallback", server.resolvedUrls!.local[0]);
    await chooseText(page, sampleText(8_000));
    await setPlan(page, { ...SMALL, context: 16, steps: 10 });
    await start(page);
    expect(await trained(page)).toMatch(/^Done; kept in this browser/);
  });
});
