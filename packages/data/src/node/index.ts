export type { TextDocument } from "./corpora";
export { readText, type Text, textOf } from "./text";
