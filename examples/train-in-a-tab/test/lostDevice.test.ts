/** The GPU goes away in the middle of a training: a crash of Chromium's GPU process, as a driver's reset causes it. */
import { describe, expect, it } from "vitest";
import { absent, chooseText, openBrowser, openPage, sampleText, setPlan, SMALL, start, trained } from "./page";

describe.skipIf(absent !== undefined)("a GPU that goes away", () => {
  it("is told of, and the run goes on from its last checkpoint", async () => {
    const context = await openBrowser();
    const page = await openPage(context);
    await chooseText(page, sampleText(8_000));
    await setPlan(page, { ...SMALL, context: 16, steps: 100 });
    await start(page);
    await page.locator("#legend li", { hasText: "step 10" }).waitFor({ timeout: 240_000 });
    await (await context.browser()!.newBrowserCDPSession()).send("Browser.crashGpuProcess");
    await page.locator("#problem", { hasText: "The GPU went away" }).waitFor();
    expect(await page.locator("#problem-message").innerText()).toMatch(/the last good checkpoint is 1-zero\/checkpoints\/step-\d+/);
    await page.locator("#retry", { hasText: /^Resume from step \d+$/ }).click();
    await page.locator("#problem").waitFor({ state: "hidden" });
    await page.locator("#main", { hasText: "Stop" }).waitFor();
    await page.locator("#legend li", { hasText: "step 30" }).waitFor({ timeout: 240_000 });
    await page.locator("#main").click();
    expect(await trained(page)).toMatch(/^Stopped at step \d+; kept/);
  });
});
