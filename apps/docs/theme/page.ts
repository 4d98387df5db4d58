/** What runs on every page: colours, the menu on phones, search, tables that scroll, copies of code, and live figures. */
import { startFigures } from "./figure";
import { shared } from "./globals";

const root = document.documentElement;
const script = document.currentScript as HTMLScriptElement;

/** The schemes a click steps through; null is the system's. */
const SCHEMES = [null, "light", "dark"] as const;

function remember(scheme: string | null): void {
  try {
    if (scheme === null) localStorage.removeItem("lenggen-theme");
    else localStorage.setItem("lenggen-theme", scheme);
  } catch {
    // Storage is refused: the choice holds for this page.
  }
}

function startColours(button: HTMLButtonElement): void {
  const show = () => button.setAttribute("aria-label", `Colours: ${root.dataset["theme"] ?? "as the system's"}`);
  show();
  button.addEventListener("click", () => {
    const now = root.dataset["theme"] ?? null;
    const next = SCHEMES[(SCHEMES.findIndex((scheme) => scheme === now) + 1) % SCHEMES.length]!;
    if (next === null) delete root.dataset["theme"];
    else root.dataset["theme"] = next;
    remember(next);
    show();
  });
}

function startMenu(button: HTMLButtonElement, pages: HTMLElement): void {
  const set = (open: boolean) => {
    button.setAttribute("aria-expanded", String(open));
    pages.classList.toggle("open", open);
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    set(false);
    button.focus();
  });
}

function load(src: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = src;
    element.addEventListener("load", () => resolve());
    element.addEventListener("error", () => reject(new Error(`${src} can't be loaded`)));
    document.head.append(element);
  });
}

/** Search and its index are loaded when somebody searches. */
function startSearch(button: HTMLButtonElement): void {
  const { search, index, up } = script.dataset;
  let ready: Promise<unknown> | undefined;
  const open = async () => {
    ready ??= Promise.all([load(search!), load(index!)]);
    await ready;
    shared.lenggenSearch!(up ?? "");
  };
  const openOrSay = () => void open().catch((error: unknown) => {
    ready = undefined;
    button.title = String(error);
  });
  button.addEventListener("click", openOrSay);
  document.addEventListener("keydown", (event) => {
    const writing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, [contenteditable]") !== null;
    const slash = event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!slash && !(event.key === "k" && (event.ctrlKey || event.metaKey))) return;
    event.preventDefault();
    openOrSay();
  });
}

/** What is wider than its place can be scrolled with the keyboard, and says so. */
function startScrolling(): void {
  const measure = (element: Element) => {
    const scrolls = element.scrollWidth > element.clientWidth;
    element.toggleAttribute("tabindex", scrolls);
    if (!scrolls) return ["role", "aria-label"].forEach((name) => element.removeAttribute(name));
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "group");
    const kind = element.matches(".table") ? "Table" : element.matches(".math") ? "Formula" : "Code";
    element.setAttribute("aria-label", `${kind}, wider than the page`);
  };
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) measure(target);
  });
  for (const element of document.querySelectorAll(".scrolls")) observer.observe(element);
}

function startCopying(): void {
  for (const code of document.querySelectorAll<HTMLElement>(".code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => void (async () => {
      await navigator.clipboard.writeText(code.querySelector("code")!.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    })().catch(() => (button.textContent = "Not allowed")));
    code.append(button);
  }
}

/** Marks the section that is being read in the table of contents. */
function startContents(contents: HTMLElement): void {
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
  const headings = [...document.querySelectorAll<HTMLElement>("article h2, article h3")].filter(({ id }) => links.has(id));
  const mark = () => {
    const passed = headings.findLast((heading) => heading.getBoundingClientRect().top < 120) ?? headings[0];
    for (const [id, link] of links) link.toggleAttribute("aria-current", id === passed?.id);
  };
  mark();
  let asked = false;
  document.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      mark();
    });
  }, { passive: true });
}

const button = (name: string) => document.querySelector<HTMLButtonElement>(`button.${name}`)!;

startColours(button("theme"));
startMenu(button("menu"), document.querySelector<HTMLElement>("#pages")!);
startSearch(button("find"));
startScrolling();
startCopying();
const contents = document.querySelector<HTMLElement>(".contents");
if (contents) startContents(contents);
startFigures();
// The page's own line of the navigation is in sight.
document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest" });
