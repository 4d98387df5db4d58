/** The form of the settings, made from their table. */
import { FAMILY_WORDS, FIELDS, type Field, MODELS, type ModelName, type Plan, problemsOf } from "../shared/plan";
import { byId, element, setText } from "./dom";

const GROUPS: readonly { readonly title: string; readonly names: readonly (keyof typeof FIELDS)[] }[] = [
  { title: "Training", names: ["context", "batch", "steps", "learningRate", "seed"] },
  { title: "After each turn of the switch", names: ["laterSteps", "laterRate", "resetProbability"] },
];

/** Fills the form; `changed` gets the plan with every change, also one that is not right yet. */
export function makeSettings(changed: (plan: Plan) => void): void {
  const select = byId("setting-model", HTMLSelectElement);
  select.append(...Object.entries(FAMILY_WORDS).map(([family, { label }]) => element("optgroup", { label },
    ...Object.entries(MODELS).filter(([, model]) => model.family === family)
      .map(([value, { size }]) => element("option", { value }, `${label}, ${size}`)))));
  select.addEventListener("input", () => changed(readPlan()));
  const fields = byId("fields");
  for (const { title, names } of GROUPS) {
    fields.append(element("h3", {}, title), ...names.map((name) => fieldFor(name, FIELDS[name])));
  }
  fields.addEventListener("input", () => changed(readPlan()));
}

function fieldFor(name: string, { label, hint, from, to, step }: Field): HTMLElement {
  const id = `setting-${name}`;
  return element("label", { for: id },
    element("span", {}, label),
    element("input", {
      type: "number", id, name, min: String(from), max: String(to), step: String(step), inputmode: step === 1 ? "numeric" : "decimal",
      "aria-describedby": `${id}-hint`, required: "",
    }),
    element("small", { id: `${id}-hint` }, hint));
}

/** Shows a plan in the form, and what is wrong with it. */
export function showPlan(plan: Plan): void {
  byId("setting-model", HTMLSelectElement).value = plan.model;
  setText(byId("model-note"), FAMILY_WORDS[MODELS[plan.model].family].note);
  const problems = problemsOf(plan);
  for (const [name, field] of Object.entries(FIELDS) as [keyof typeof FIELDS, Field][]) {
    const input = byId(`setting-${name}`, HTMLInputElement);
    if (input !== document.activeElement || Number(input.value) !== plan[name]) {
      const value = Number.isFinite(plan[name]) ? String(plan[name]) : "";
      if (input.value !== value) input.value = value;
    }
    const problem = problems[name];
    input.setAttribute("aria-invalid", String(problem !== undefined));
    const hint = byId(`setting-${name}-hint`);
    hint.textContent = problem ?? field.hint;
  }
}

function readPlan(): Plan {
  const numbers = Object.keys(FIELDS).map((name) => {
    const { value } = byId(`setting-${name}`, HTMLInputElement);
    return [name, value.trim() === "" ? Number.NaN : Number(value)];
  });
  return { ...(Object.fromEntries(numbers) as Omit<Plan, "model">), model: byId("setting-model", HTMLSelectElement).value as ModelName };
}
