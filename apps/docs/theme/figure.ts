/** Live figures: each is loaded when it comes into sight and put into its stage; until then, and on paper, its still stands there. */

/** What a live figure's module gets. */
export interface Tools {
  /** The `<figure>`, whose still stays in the page, hidden while the figure runs. */
  readonly figure: HTMLElement;
  /** Says what goes on, below the figure, to screen readers too. An empty text takes the line away. */
  status(text: string): void;
  /** What the figure is doing: "ready" when it waits for the reader, "busy" while it computes, "failed". */
  state(state: "ready" | "busy" | "failed"): void;
  /** Aborts when the page goes away. */
  readonly signal: AbortSignal;
}

/** What `figures/NAME/index.ts` exports. */
export interface FigureModule {
  /** Fills the stage; resolves when the reader can use it. */
  mount(stage: HTMLElement, tools: Tools): void | Promise<void>;
}

async function mount(figure: HTMLElement, signal: AbortSignal): Promise<void> {
  const stage = figure.querySelector<HTMLElement>(".stage")!;
  const line = figure.querySelector<HTMLElement>(".status")!;
  const state: Tools["state"] = (name) => (figure.dataset["state"] = name);
  const status: Tools["status"] = (text) => (line.textContent = text);
  state("busy");
  try {
    const module = await import(/* @vite-ignore */ new URL(figure.dataset["module"]!, document.baseURI).href) as FigureModule;
    stage.hidden = false;
    await module.mount(stage, { figure, status, state, signal });
    figure.classList.add("runs");
    if (figure.dataset["state"] === "busy") state("ready");
  } catch (error) {
    stage.hidden = true;
    state("failed");
    status(location.protocol === "file:" ? "A browser runs this figure only from a server; this is its still."
      : `This figure can't run here (${error instanceof Error ? error.message : String(error)}); this is its still.`);
  }
}

export function startFigures(): void {
  const gone = new AbortController();
  addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) gone.abort();
  });
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      void mount(target as HTMLElement, gone.signal);
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll("figure.live")) observer.observe(figure);
}
