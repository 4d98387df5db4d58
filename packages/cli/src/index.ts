/** The `lenggen` command as a function, and the JSON formats that it writes. */
export { main } from "./main";
export type { BenchDocument, BenchResult } from "./commands/bench";
export type { DoctorDocument } from "./commands/doctor";
