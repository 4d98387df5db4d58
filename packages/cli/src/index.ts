/** The `lenggen` command as a function, and the JSON formats that it writes. */
export { main } from "./main";
export type { BenchResult } from "./bench/result";
export type { BenchDocument } from "./commands/bench";
export type { DoctorDocument } from "./commands/doctor";
