/** Elements and controls that figures are made of. All are the browser's own, so that keyboards and screen readers know them. */

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** An element; attributes that are false or undefined are left out. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name, attributes: Attributes = {}, ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** Sets the text only where it differs, so that screen readers do not announce it again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** A control with what it stands at. */
export interface Control<Value> {
  readonly element: HTMLElement;
  readonly value: Value;
  set(value: Value): void;
}

/** A slider over given values. `words` is what is shown and said of a value. */
export function slider<Value>(label: string, values: readonly Value[], first: Value, words: (value: Value) => string,
  onInput: (value: Value) => void): Control<Value> {
  const input = element("input", { "type": "range", "min": 0, "max": values.length - 1, "step": 1, "data-use": "slide" });
  const shown = element("output");
  const show = (): void => {
    const text = words(values[Number(input.value)]!);
    setText(shown, text);
    input.setAttribute("aria-valuetext", text);
  };
  const set = (value: Value): void => {
    input.value = String(Math.max(0, values.indexOf(value)));
    show();
  };
  set(first);
  input.addEventListener("input", () => {
    show();
    onInput(values[Number(input.value)]!);
  });
  return {
    element: element("label", { class: "slider" }, element("span", {}, label), input, shown),
    get value() {
      return values[Number(input.value)]!;
    },
    set,
  };
}

let groups = 0;

/** Radio buttons, of which one is chosen. The last one is what a test of the site clicks. */
export function choices<Value extends string>(label: string, options: Readonly<Record<Value, string>>, first: Value,
  onChange: (value: Value) => void): Control<Value> {
  const name = `figure-choice-${groups++}`;
  const inputs = (Object.entries(options) as [Value, string][]).map(([value, words], i, { length }) => {
    const input = element("input", { "type": "radio", name, value, "checked": value === first, "data-use": i === length - 1 && "click" });
    input.addEventListener("change", () => onChange(value));
    return { input, row: element("label", {}, input, element("span", {}, words)) };
  });
  return {
    element: element("fieldset", { class: "choices" }, element("legend", {}, label), ...inputs.map(({ row }) => row)),
    get value() {
      return inputs.find(({ input }) => input.checked)!.input.value as Value;
    },
    set: (value) => inputs.forEach(({ input }) => (input.checked = input.value === value)),
  };
}

/** A button; `data-action` names what it does, and `used` says that a test of the site clicks it. */
export function button(action: string, label: string, onClick: () => void,
  { main = false, used = false }: { readonly main?: boolean; readonly used?: boolean } = {}): HTMLButtonElement {
  const made = element("button", { "type": "button", "class": main && "main", "data-action": action, "data-use": used && "click" }, label);
  made.addEventListener("click", onClick);
  return made;
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The numbers behind a figure, folded away. */
export function numbers(summary = "The numbers"): { readonly element: HTMLElement; show(table: Table): void } {
  const table = element("table");
  const holder = element("div", { class: "wide", role: "group", tabindex: 0, "aria-label": summary }, table);
  return {
    element: element("details", { class: "numbers" }, element("summary", {}, summary), holder),
    show({ head, rows }) {
      table.replaceChildren(
        element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
        element("tbody", {}, ...rows.map(([first = "", ...rest]) =>
          element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((text) => element("td", {}, text))))),
      );
    },
  };
}
