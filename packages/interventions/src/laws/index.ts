/** Laws that every source of initial states keeps, for any test: they need no test runner, and throw `E_LAW`. */
export { checkInitialStates, INITIAL_STATES_LAWS, type InitialStatesLaw, type InitialStatesSetup } from "./initialStates";
