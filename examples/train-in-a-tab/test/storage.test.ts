/** What lasts and what comes back: reloads, saved runs, runs of the command line, a lost GPU, a second tab. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { absent, chooseText, lossesOf, openBrowser, openPage, sampleText, saved, setPlan, SMALL, start, trained } from "./page";

const TEXT = sampleText(8_000);
/** Without a GPU, so that it is quick everywhere; what is stored does not depend on the device. */
const REFERENCE = "?device=reference";
const QUICK = { ...SMALL, context: 16, steps: 30, laterSteps: 10 };
const lenggen = fileURLToPath(new URL("../../../packages/cli/bin/lenggen.js", import.meta.url));

describe.skipIf(absent !== undefined)("runs of the page", () => {
  it("stop, outlive a reload, resume, go on with state passing, and move to another browser", async () => {
    const context = await openBrowser();
    const page = await openPage(context, REFERENCE);
    await chooseText(page, TEXT);
    await setPlan(page, QUICK);
    await start(page);
    await page.locator("#now-step", { hasText: /^(1\d|[5-9]) of 30$/ }).waitFor();
    await page.locator("#main", { hasText: "Stop" }).click();
    const status = await trained(page);
    expect(status).toMatch(/^Stopped at step \d+; kept in this browser\.$/);
    const step = Number(/\d+/.exec(status)![0]);

    await page.reload();
    await page.locator("#main", { hasText: "Resume" }).waitFor();
    expect(await page.locator("#text-name").innerText()).toBe("words.txt");
    expect(await page.locator("#now-step").innerText()).toBe(`${step} of 30`);
    expect(await page.locator("#setting-steps").inputValue()).toBe("30");
    await start(page);
    expect(await trained(page)).toMatch(/^Done; kept/);

    // The switch starts the next phase at once, and a turn back while it runs the one after.
    await page.locator("#switch").click();
    await page.locator("#now-step", { hasText: /^10 of 10$/ }).waitFor();
    expect(await trained(page)).toMatch(/^Done; kept/);
    // Figures follow the words by a frame.
    await page.locator("#legend li", { hasText: /^state passing, step 10$/ }).waitFor();
    expect(await page.locator("#legend li").allInnerTexts())
      .toEqual(["from zero states, step 30", "state passing, step 10", "same text, short memory"]);
    const { archive, folder } = await saved(page);
    expect([lossesOf(join(folder, "1-zero")).length, lossesOf(join(folder, "2-state-passing")).length]).toEqual([30, 10]);
    const run = JSON.parse(readFileSync(join(folder, "2-state-passing", "run.json"), "utf8")) as { settings: object };
    expect(run.settings).toMatchObject({ base: "1-zero/checkpoints/step-30",
      initialStates: { name: "state-passing", resetProbability: 0.01 } });
    const resume = /^lenggen post-train .*$/m.exec(readFileSync(join(folder, "README.txt"), "utf8"))![0];
    expect(execFileSync(process.execPath, [lenggen, ...resume.split(" ").slice(1)], { cwd: folder, encoding: "utf8", stdio: "pipe" }))
      .toMatch(/^done: 10 steps/);

    const elsewhere = await openPage(await openBrowser(), REFERENCE);
    await elsewhere.locator("#run-file").setInputFiles(archive);
    await elsewhere.locator("#legend li", { hasText: "state passing, step 10" }).waitFor();
    expect(await elsewhere.locator("#main").innerText()).toBe("Train on with state passing");
    await start(elsewhere);
    await trained(elsewhere);
    expect(lossesOf(join((await saved(elsewhere)).folder, "3-state-passing"))).toHaveLength(10);

    await elsewhere.locator("#discard").click();
    await elsewhere.locator("#confirm button", { hasText: "Delete" }).click();
    await elsewhere.locator("#text-name", { hasText: "None yet" }).waitFor();
    await elsewhere.reload();
    await elsewhere.locator("#main", { hasText: /^Train$/ }).waitFor();
  });

  it("begin from a run of the command line", async () => {
    const scratch = mkdtempSync(join(tmpdir(), "lenggen-tab-"));
    onTestFinished(() => rmSync(scratch, { recursive: true }));
    writeFileSync(join(scratch, "text.txt"), TEXT);
    const config = { d_model: 16, n_layer: 1, vocab_size: 256, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };
    writeFileSync(join(scratch, "config.json"), JSON.stringify(config));
    const options = ["--model", "config.json", "--text", "text.txt", "--out", "base", "--steps", "5", "--context", "24", "--batch", "2",
      "--warmup", "0", "--device", "reference"];
    execFileSync(process.execPath, [lenggen, "train", ...options], { cwd: scratch, stdio: "pipe" });

    const page = await openPage(await openBrowser(), REFERENCE);
    await page.locator("#run-folder").setInputFiles(join(scratch, "base"));
    await page.locator("#text-note", { hasText: "Weights: base, step 5: mamba2, 6,268 numbers" }).waitFor();
    expect(await page.locator("#setting-context").inputValue()).toBe("24");
    await chooseText(page, TEXT);
    await setPlan(page, { laterSteps: 6 });
    await page.locator("#switch").click();
    await start(page);
    await page.locator("#legend li", { hasText: "as loaded" }).waitFor();
    await trained(page);
    const { folder } = await saved(page);
    const { settings } = JSON.parse(readFileSync(join(folder, "1-state-passing", "run.json"), "utf8")) as { settings: object };
    expect(settings).toMatchObject({ base: "0-loaded/checkpoints/step-5", model: { d_model: 16 }, steps: 6 });
    expect(lossesOf(join(folder, "1-state-passing"))).toHaveLength(6);
  });

  it("are refused when they are none, with the reason, and what was there stays", async () => {
    const page = await openPage(await openBrowser(), REFERENCE);
    await chooseText(page, TEXT);
    await page.locator("#run-file")
      .setInputFiles({ name: "photo.tar", mimeType: "application/x-tar", buffer: Buffer.from("not an archive".repeat(100)) });
    await page.locator("#problem", { hasText: "This can\u2019t be loaded" }).waitFor();
    expect(await page.locator("#problem-message").innerText()).toBe("photo.tar is not a tar archive, or it is damaged.");
    await page.locator("#dismiss").click();
    await page.locator("#problem").waitFor({ state: "hidden" });
    expect(await page.locator("#text-name").innerText()).toBe("words.txt");
  });

  it("need a text that is long enough, and settings within their range", async () => {
    const page = await openPage(await openBrowser(), REFERENCE);
    expect(await page.locator("#main").isDisabled()).toBe(true);
    expect(await page.locator("#status").innerText()).toBe("Choose a text first.");
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["Call me Ishmael."], "short.txt", { type: "text/plain" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.locator("#text-name", { hasText: "short.txt" }).waitFor();
    await page.locator("#main").click();
    await page.locator("#problem", { hasText: /short\.txt has 16 bytes; a training length of 64 needs at least 5,140/i }).waitFor();
    await chooseText(page, TEXT);
    await setPlan(page, { batch: 0 });
    await page.locator("#main").click();
    await page.locator("#setting-batch[aria-invalid=true]").waitFor();
    expect(await page.locator("#setting-batch-hint").innerText()).toBe("A whole number from 1 to 256.");
    expect(await page.locator("#setting-batch").evaluate((field) => field === document.activeElement)).toBe(true);
  });

  it("belong to one tab at a time", async () => {
    const context = await openBrowser();
    await openPage(context, REFERENCE);
    const second = await openPage(context, REFERENCE);
    expect(await second.locator("#status").innerText()).toBe("This page is open in another tab, which has the run.");
    expect(await second.locator("#main").isDisabled()).toBe(true);
  });
});

describe.skipIf(absent !== undefined)("without a GPU", () => {
  it("the page says what the browser lacks and where to turn it on, and trains all the same", async () => {
    const page = await openPage(await openBrowser({ webgpu: false }), "");
    await page.locator("#no-gpu").waitFor();
    console.log(`without WebGPU the page says: ${await page.locator("#no-gpu-reason").innerText()}`);
    // Elsewhere than on Linux, Chrome has it on.
    const wayOut = process.platform === "linux" ? /chrome:\/\/flags\/#enable-unsafe-webgpu/ : /chrome:\/\/|hardware acceleration/;
    expect(await page.locator("#no-gpu-reason").innerText()).toMatch(wayOut);
    expect(await page.locator("#main").isDisabled()).toBe(true);
    await page.locator("#use-reference").click();
    await chooseText(page, TEXT);
    await setPlan(page, { ...QUICK, steps: 3 });
    await start(page);
    expect(await trained(page)).toMatch(/^Done/);
  });

  it("a software adapter is used only when asked for", async () => {
    const page = await openPage(await openBrowser(), "");
    expect(await page.locator("#no-gpu-reason").innerText()).toMatch(/swiftshader.*computes in software/i);
    await page.locator("#use-software").click();
    expect(await page.locator("#device").innerText()).toMatch(/swiftshader/i);
  });
});
