/**
 * What the paper behind "unexplored states" (Buitrago Ruiz & Gu 2025) says of each family of models, to stand beside what a run found.
 * From its abstract, figure 1 and the authors' post of July 2025; nobody here has repeated it at that size.
 */

/** A family of models as reports name it. */
export interface FamilyFacts {
  readonly label: string;
  /** What the paper says of it; absent where no numbers of its are at hand (RWKV-6), or it does not speak of it. */
  readonly claim?: string;
  /** The same in a few words, for a table. */
  readonly shortClaim?: string;
}

const FAMILIES: Readonly<Record<string, FamilyFacts>> = {
  mamba: {
    label: "Mamba-1",
    claim: "the official checkpoints, trained on 2k tokens at a time, do not generalise beyond that; 500 steps of state passing, a "
      + "thousandth of their training, mend them.",
    shortClaim: "fails beyond 2k, mended by state passing",
  },
  mamba2: {
    label: "Mamba-2",
    claim: "the official checkpoints, trained on 2k tokens at a time, fail beyond that, the larger the sooner; 500 steps of state passing "
      + "or TBTT, a thousandth of their training, mend all sizes to 128k, fitted noise those of up to 780 million parameters, random "
      + "noise that of 370 million in part.",
    shortClaim: "fails beyond 2k, mended by state passing and TBTT, smaller ones by fitted noise",
  },
  gla: {
    label: "GLA",
    claim: "models trained on 512 tokens at a time do not generalise beyond that; 500 steps of state passing mend them.",
    shortClaim: "fails beyond 512, mended by state passing",
  },
  rwkv6: { label: "RWKV-6" },
  rwkv7: { label: "RWKV-7" },
  gated_deltanet: { label: "Gated DeltaNet" },
  mamba3: { label: "Mamba-3" },
  hybrid: { label: "Hybrid" },
};

/** What there is to say of a family, by the `model_type` of its configurations: of one that this table does not know, its name. */
export function familyFacts(family: string): FamilyFacts {
  return Object.hasOwn(FAMILIES, family) ? FAMILIES[family]! : { label: family };
}

/** The paper's claim about a family as a sentence. */
export function claimInWords(family: string): string {
  const { label, claim } = familyFacts(family);
  return claim === undefined ? `No numbers of Buitrago Ruiz & Gu (2025) are at hand for ${label}.`
    : `Buitrago Ruiz & Gu (2025) on ${label}: ${claim}`;
}
