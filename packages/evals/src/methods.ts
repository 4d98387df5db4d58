/** The models of reproductions: how they are named, and how they look in every figure. */

/** The models of "unexplored states", by how they were trained. */
export const METHODS = ["base", "control", "random-noise", "fitted-noise", "state-passing", "tbtt"] as const;

/** A name in {@link METHODS}. */
export type Method = (typeof METHODS)[number];

/** The models of "gca-retrieval", by how they look back. */
export const RETRIEVERS = ["drt-1", "drt-2", "sliding-window", "full-attention"] as const;

/** A name in {@link RETRIEVERS}. */
export type Retriever = (typeof RETRIEVERS)[number];

/** A name in {@link METHOD_STYLES}. */
export type Styled = Method | Retriever;

/** How a method is named and drawn. */
export interface MethodStyle {
  readonly label: string;
  /** One sentence for readers who do not know the paper. */
  readonly meaning: string;
  /** Colours on light and on dark ground; told apart with all common colour vision (after Okabe & Ito 2008). */
  readonly light: string;
  readonly dark: string;
  /** SVG dash pattern, so that lines differ in print without colour; undefined is a solid line. */
  readonly dash?: string;
  /**
   * In a terminal: the nearest of the 256 colours, one that reads on dark and on light ground; the letter is for where there is no
   * colour.
   */
  readonly terminal: { readonly code: number; readonly letter: string };
}

/** The style of each method, the same in every figure. */
export const METHOD_STYLES: Readonly<Record<Styled, MethodStyle>> = {
  base: { label: "base", meaning: "Trained from zero states only.", light: "#2b2b2b", dark: "#e4e4e4",
    terminal: { code: 250, letter: "b" } },
  control: {
    label: "control", meaning: "The base, trained on for the same extra steps, still from zero states.",
    light: "#707070", dark: "#9a9a9a", dash: "5 3", terminal: { code: 244, letter: "c" },
  },
  "random-noise": {
    label: "random noise", meaning: "Starts from independent Gaussian noise of one standard deviation.",
    light: "#c44e00", dark: "#ff8f4d", dash: "2 2.5", terminal: { code: 208, letter: "r" },
  },
  "fitted-noise": {
    label: "fitted noise", meaning: "Starts from Gaussian noise with the mean and spread of final states, per layer and head.",
    light: "#a8467f", dark: "#f0a3cf", dash: "8 3 2 3", terminal: { code: 176, letter: "f" },
  },
  "state-passing": {
    label: "state passing", meaning: "Starts from the final state of an earlier, unrelated sequence.",
    light: "#0067a8", dark: "#5db8f2", terminal: { code: 39, letter: "s" },
  },
  tbtt: {
    label: "TBTT", meaning: "Truncated backpropagation through time: starts from the final state of the text just before.",
    light: "#00805c", dark: "#3ccf9f", dash: "9 3", terminal: { code: 42, letter: "t" },
  },
  "drt-1": {
    label: "DRT \u00d71", meaning: "Grouped Cross Attention with one group of upper layers: each chunk retrieves once.",
    light: "#0067a8", dark: "#5db8f2", terminal: { code: 39, letter: "1" },
  },
  "drt-2": {
    label: "DRT \u00d72", meaning: "Two groups: what the first retrieves helps the second to look for more.",
    light: "#00805c", dark: "#3ccf9f", dash: "9 3", terminal: { code: 42, letter: "2" },
  },
  "sliding-window": {
    label: "sliding window", meaning: "The same layers and two more, but nothing behind the window.",
    light: "#c44e00", dark: "#ff8f4d", dash: "2 2.5", terminal: { code: 208, letter: "w" },
  },
  "full-attention": {
    label: "full attention", meaning: "Every token sees every token before it, with rotary positions; at the lengths that it can reach.",
    light: "#a8467f", dark: "#f0a3cf", dash: "8 3 2 3", terminal: { code: 176, letter: "f" },
  },
};

export const STYLED = Object.keys(METHOD_STYLES) as Styled[];

/** The colour as a CSS variable with the light colour as its fallback. */
export function methodColor(method: Styled): string {
  return `var(--lg-${method}, ${METHOD_STYLES[method].light})`;
}

/** Declarations of every method's variable; `ground` is what lies behind. */
export function methodVariables(ground: "light" | "dark"): string {
  return STYLED.map((method) => `--lg-${method}:${METHOD_STYLES[method][ground]}`).join(";");
}
