/**
 * Uses the live figures of a page as a reader would. What there is to do, each figure says in its own elements: `data-use="click"` (a
 * button, a check box), `data-use="slide"` (a range), `data-use="choose"` (a select), `data-use="type:TEXT"` (a field), in the order
 * of the document. After each the figure must come back to `data-state="ready"`.
 */
const READY_MS = 60_000;

async function act(element, use) {
  const [what, text] = use.split(/:(.*)/s);
  if (what === "click") return element.click();
  if (what === "type") return element.fill(text);
  if (what === "slide") {
    await element.focus();
    for (let i = 0; i < 3; i++) await element.press("ArrowRight");
    return undefined;
  }
  if (what === "choose") {
    const values = await element.locator("option:not(:disabled)").evaluateAll((options) => options.map(({ value }) => value));
    return element.selectOption(values.at(-1));
  }
  throw new Error(`data-use="${use}" is none of click, slide, choose and type:TEXT`);
}

/** What goes wrong, in words. */
export async function useFigures(page) {
  const problems = [];
  for (const figure of await page.locator("figure.live").all()) {
    const name = await figure.getAttribute("data-figure");
    const ready = async () => {
      await page.waitForFunction((element) => element.dataset.state === "ready" || element.dataset.state === "failed",
        await figure.elementHandle(), { timeout: READY_MS });
      if (await figure.getAttribute("data-state") === "failed") throw new Error(await figure.locator(".status").textContent());
    };
    try {
      await figure.scrollIntoViewIfNeeded();
      await ready();
      const controls = await figure.locator("[data-use]").all();
      if (controls.length === 0) throw new Error("it has nothing to use: no element with data-use");
      const before = await figure.locator(".stage").innerHTML();
      for (const control of controls) {
        await act(control, await control.getAttribute("data-use"));
        await ready();
      }
      if (await figure.locator(".stage").innerHTML() === before) throw new Error("nothing of it changes when it is used");
    } catch (error) {
      problems.push(`figure ${name}: ${error.message.split("\n")[0]}`);
    }
  }
  return problems;
}
