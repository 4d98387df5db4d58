/** The search: a dialog over MiniSearch's index, which was made when the site was built (site/search.mjs). */
import MiniSearch from "minisearch";
import { shared } from "./globals";

const SHOWN = 20;
/** What counts how much beside what explains: an export or a table of results is looked for by its exact name. */
const WEIGHTS: Readonly<Record<string, number>> = { start: 3, ideas: 3, guides: 3, reference: 1, results: 0.7, design: 1 };

interface Section {
  /** The page's address with the section's anchor, and the page's title in the next line. */
  readonly page: string;
  readonly title: string;
  readonly start: string;
}

function make(): { open(up: string): void } {
  const index = MiniSearch.loadJSON(shared.lenggenSearchIndex!, { fields: ["title", "text"], storeFields: ["page", "title", "start"] });
  const dialog = document.createElement("dialog");
  dialog.className = "search";
  dialog.setAttribute("aria-label", "Search");
  dialog.innerHTML = `<form method="dialog"><input type="search" aria-label="Search the pages" placeholder="Search" autocomplete="off" \
spellcheck="false"><button>Close</button></form><p role="status"></p><ol></ol>`;
  document.body.append(dialog);
  const input = dialog.querySelector("input")!;
  const status = dialog.querySelector<HTMLElement>("[role=status]")!;
  const list = dialog.querySelector("ol")!;
  let prefix = "";

  const item = ({ page, title, start }: Section) => {
    const [address, name] = page.split("\n") as [string, string];
    const link = document.createElement("a");
    link.href = prefix + address;
    const strong = document.createElement("strong");
    strong.textContent = title;
    const small = document.createElement("small");
    small.textContent = [title === name ? "" : name, start].filter(Boolean).join(": ");
    link.append(strong, small);
    const li = document.createElement("li");
    li.append(link);
    return li;
  };
  const show = () => {
    const query = input.value.trim();
    const weight = (_id: unknown, _term: string, section?: Record<string, unknown>): number => {
      const { page, title } = section as unknown as Section;
      return (WEIGHTS[page.split("/")[0]!] ?? 1) * (title.toLowerCase().includes(query.toLowerCase()) ? 3 : 1);
    };
    const options = { prefix: true, fuzzy: (term: string) => (term.length > 4 ? 0.2 : false), boost: { title: 4 }, boostDocument: weight };
    const both = query === "" ? [] : index.search(query, { ...options, combineWith: "AND" });
    const found = both.length > 0 || query === "" ? both : index.search(query, options);
    list.replaceChildren(...found.slice(0, SHOWN).map((result) => item(result as unknown as Section)));
    status.textContent = query === "" ? "" : found.length === 0 ? "Nothing found" : `${found.length} found`;
  };

  input.addEventListener("input", show);
  dialog.querySelector("form")!.addEventListener("submit", (event) => {
    if (event.submitter !== null && document.activeElement !== input) return;
    event.preventDefault();
    list.querySelector("a")?.click();
  });
  list.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const stops = [input, ...list.querySelectorAll("a")];
    const at = stops.indexOf(document.activeElement as HTMLInputElement);
    stops[Math.min(Math.max(at + step, 0), stops.length - 1)]!.focus();
  });
  return {
    open(up) {
      prefix = up;
      if (!dialog.open) dialog.showModal();
      input.select();
      input.focus();
    },
  };
}

let made: ReturnType<typeof make> | undefined;
shared.lenggenSearch = (up) => (made ??= make()).open(up);
