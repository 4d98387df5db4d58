import { describe, expect, test } from "vitest";
import { findingInWords, findings } from "./findings";
import { syntheticReport } from "./synthetic.fixture";
import type { UnexploredStatesReport } from "./types";
import { buildUnexploredStatesReport } from "./unexploredStates";

describe("the report page", () => {
  const html = buildUnexploredStatesReport(syntheticReport());

  test("is complete in itself: nothing is loaded from outside", () => {
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/\b(src|href)="?https?:|@import|url\(https?:|<script|<link/);
  });

  test("holds every figure, for wide and narrow screens, with unique clip paths", () => {
    // loss, ratio, panels, remembrance, state, heads and three recall maps
    expect(html.match(/<figure>/g)).toHaveLength(9);
    const ids = [...html.matchAll(/<clipPath id="([^"]+)"/g)].map((match) => match[1]);
    expect(ids.length).toBeGreaterThan(0);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("says what the verdicts mean", () => {
    expect(html).toContain("A model holds with 1.01 or less at every length, collapses with 1.10 or more at the end");
  });

  test("names the family and what the paper says of it, and methods that it refuses with the reason", () => {
    expect(html).toContain("Mamba-2, 264,312 parameters \u00b7 preset quick");
    expect(html).toContain("Buitrago Ruiz &#38; Gu (2025) on Mamba-2: the official checkpoints");
    expect(html).toContain("Mamba-2, trained on 256 bytes at a time and read to 64k");
    const model = { family: "mamba3", parameters: 9 };
    const other = buildUnexploredStatesReport(
      { ...syntheticReport(), model, leftOut: [{ method: "fitted-noise", why: "an angle has no mean" }] });
    expect(other).toContain("No numbers of Buitrago Ruiz &#38; Gu (2025) are at hand for Mamba-3.");
    expect(other).toContain("<p>Left out: fitted noise, since an angle has no mean.</p>");
    expect(other).toContain("for each model of Mamba-3.");
  });

  test("of a trial says that it shows nothing but that all parts work", () => {
    const whole = syntheticReport();
    const smoke = buildUnexploredStatesReport({
      ...whole, preset: "smoke", trial: true, models: whole.models.map((model) => ({ ...model, steps: 6 })),
    });
    expect(smoke).toContain("The preset smoke shows that all parts work, and no more: a base model of 6 updates has learnt nothing, and");
    expect(smoke).not.toMatch(/Verdict|collapses|Buitrago Ruiz &#38; Gu \(2025\) on/);
  });

  test("of a run from before there was a choice says nothing of a family", () => {
    const { model: _model, ...old } = syntheticReport();
    const page = buildUnexploredStatesReport(old);
    expect(page).not.toContain("Mamba-2");
    expect(page).toContain("Preset quick");
  });

  test("is the same for the same numbers", () => {
    expect(buildUnexploredStatesReport(syntheticReport())).toBe(html);
  });

  test("shows numbers that are not finite or missing nowhere", () => {
    expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test("escapes what comes in", () => {
    const evil = { ...syntheticReport(), command: "<script>alert(1)</script>", settings: { "<b>": "<i>&" } };
    const page = buildUnexploredStatesReport(evil);
    expect(page).not.toContain("<script>");
    expect(page).not.toContain("<i>&");
  });

  test("leaves out what was not measured", () => {
    const report = syntheticReport();
    const bare: UnexploredStatesReport = {
      ...report, models: report.models.map(
        ({ method, lossByPosition }) => ({ method, lossByPosition, effectiveRemembrance: [], stateStd: [] })),
    };
    const page = buildUnexploredStatesReport(bare);
    expect(page.match(/<figure>/g)).toHaveLength(3);
    expect(page).not.toContain("Effective Remembrance by t");
  });
});

describe("the finding in words follows the numbers", () => {
  test("when the base collapses", () => {
    const words = findingInWords(syntheticReport());
    expect(words).toContain("the base model collapses: at the end it needs");
    expect(words).toContain("State passing (1.000) and TBTT (1.000) hold at every length");
    expect(words).not.toContain("does not collapse");
  });

  test("when others trained the base", () => {
    const report: UnexploredStatesReport = { ...syntheticReport(), model: { family: "mamba2", parameters: 10 },
      origin: { checkpoint: "hf:owner/<name>" } };
    expect(findingInWords(report)).toMatch(/^Mamba-2 as others trained it \(hf:owner\/<name>\), taken to be trained on 256 bytes at a time/);
    expect(buildUnexploredStatesReport(report)).toContain("hf:owner/&#60;name&#62;, as others trained it.");
  });

  test("when it does not", () => {
    const words = findingInWords(syntheticReport({ collapse: false }));
    expect(words).toContain("the base model does not collapse: its loss is at most 0.4% above that");
    const flat = (report: UnexploredStatesReport) => ({ ...report, models: report.models.map((model) => ({ ...model,
      lossByPosition: model.lossByPosition.map((loss) => ({ ...loss, ratio: 0.9996 })) })) });
    expect(findingInWords(flat(syntheticReport())))
      .toContain("its loss is nowhere above that with only the last 128 to 256 bytes (\u00b10.0%");
    expect(words).not.toContain("collapses");
  });

  test("verdicts have the documented borders", () => {
    const loss = (position: number, ratio: number) => ({ position, bitsPerByte: 2 * ratio, referenceBitsPerByte: 2, ci95: null });
    const model = (method: "base" | "control" | "tbtt", beyond: number, end: number) =>
      ({ method, lossByPosition: [loss(256, 1), loss(1024, beyond), loss(4096, end)], effectiveRemembrance: [], stateStd: [] });
    const report = { ...syntheticReport(), models: [model("base", 1.05, 1.1), model("control", 1.02, 1), model("tbtt", 1.01, 0.98)] };
    expect(findings(report).map((f) => f.verdict)).toEqual(["collapses", "loses", "holds"]);
    expect(findings(report)[0]!.worstAt).toBe(4096);
    expect(findings(report)[2]!.insideBits).toBeCloseTo(2, 12);
  });

  test("verdicts rest on whole lengths where there are any, not on single noisy bins", () => {
    const loss = (position: number, ratio: number) => ({ position, bitsPerByte: 2 * ratio, referenceBitsPerByte: 2, ci95: null });
    const lossByPosition = [loss(256, 1), loss(300, 1.03), loss(4096, 0.99)];
    const model = { method: "base" as const, lossByPosition, effectiveRemembrance: [], stateStd: [] };
    const verdict = (lengths?: readonly number[]) => findings({
      ...syntheticReport(), models: [{ ...model, lossByLength: lengths?.map((ratio, i) => loss([4096, 1024][i]!, ratio)) }],
    })[0]!;
    expect(verdict().verdict).toBe("loses");
    expect(verdict([0.99, 1.005])).toMatchObject({ verdict: "holds", worstRatio: 1.005, worstAt: 1024, ratio: 0.99 });
  });

  test("a cost inside the training length is named", () => {
    expect(findingInWords(syntheticReport())).toMatch(/Inside the training length random noise is \d\.\d% worse than the base/);
  });
});
