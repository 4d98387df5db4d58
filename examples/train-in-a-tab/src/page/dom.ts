/** The little that the page needs of the DOM beyond the DOM. */

/** The element of that id, which index.html has. */
export function byId<E extends Element = HTMLElement>(id: string, type?: new () => E): E {
  const found = document.getElementById(id);
  if (found === null || (type && !(found instanceof type))) throw new Error(`index.html has no ${type?.name ?? "element"} #${id}`);
  return found as unknown as E;
}

export function element(name: string, attributes: Readonly<Record<string, string>>, ...children: readonly (Node | string)[]): HTMLElement {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Sets the text only where it differs, so that screen readers do not announce it again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
