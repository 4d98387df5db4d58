/** Makes the files that figures load, and gives the folder that they lie in. */
export function prepareFigures(): Promise<string>;
