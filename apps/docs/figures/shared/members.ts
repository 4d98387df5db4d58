/** Names of the two models that figures read with, without what computes. */

/** In the order in which they are drawn. */
export const MEMBERS = ["base", "state-passing"] as const;

export type Member = (typeof MEMBERS)[number];

/** What they are called in legends. */
export const MEMBER_NAMES: Readonly<Record<Member, string>> = {
  "base": "trained from zero states", "state-passing": "then with state passing",
};

/** The training length of both, in bytes. */
export const TRAINED_TO = 64;
