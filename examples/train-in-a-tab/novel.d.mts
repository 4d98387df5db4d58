/** The sample text: Moby-Dick, from chapter 1 to the epilogue. */
export function novel(): string;
