/**
 * Laws that every implementation of a contract keeps, as functions that any test can call: they need no test runner, and throw `E_LAW` that
 * says which law is broken, where, and by how much.
 */
export { BACKEND_OPS, type BackendSetup, checkBackend } from "./backend";
export { broken, expectClose, expectSameBits, type Numbers, paired, readAll } from "./compare";
export { checkSequenceModel, SEQUENCE_MODEL_LAWS, type SequenceModelLaw, type SequenceModelSetup } from "./sequenceModel";
