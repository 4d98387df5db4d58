/** The six models of a reproduction: how they are named, and how they look in every figure. */

export const METHODS = ["base", "control", "random-noise", "fitted-noise", "state-passing", "tbtt"] as const;

/** The models of a reproduction, by how they were trained. */
export type Method = (typeof METHODS)[number];

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
}

/** The style of each method, the same in every figure. */
export const METHOD_STYLES: Readonly<Record<Method, MethodStyle>> = {
  base: { label: "base", meaning: "Trained from zero states only.", light: "#2b2b2b", dark: "#e4e4e4" },
  control: {
    label: "control", meaning: "The base, trained on for the same extra steps, still from zero states.",
    light: "#8c8c8c", dark: "#9a9a9a", dash: "5 3",
  },
  "random-noise": {
    label: "random noise", meaning: "Starts from independent Gaussian noise of one standard deviation.",
    light: "#c44e00", dark: "#ff8f4d", dash: "2 2.5",
  },
  "fitted-noise": {
    label: "fitted noise", meaning: "Starts from Gaussian noise with the mean and spread of final states, per layer and head.",
    light: "#b8568f", dark: "#f0a3cf", dash: "8 3 2 3",
  },
  "state-passing": {
    label: "state passing", meaning: "Starts from the final state of an earlier, unrelated sequence.", light: "#0067a8", dark: "#5db8f2",
  },
  tbtt: {
    label: "TBTT", meaning: "Truncated backpropagation through time: starts from the final state of the text just before.",
    light: "#00805c", dark: "#3ccf9f", dash: "9 3",
  },
};

/** The colour as a CSS variable with the light colour as its fallback. */
export function methodColor(method: Method): string {
  return `var(--lg-${method}, ${METHOD_STYLES[method].light})`;
}

/** Declarations of every method's variable; `ground` is what lies behind. */
export function methodVariables(ground: "light" | "dark"): string {
  return METHODS.map((method) => `--lg-${method}:${METHOD_STYLES[method][ground]}`).join(";");
}
