/** What only Node has: a run directory. Import as `@lenggen/interventions/node`. */
export { runDirectory } from "./runDirectory";
