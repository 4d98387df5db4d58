/** Blocks that models are written from: parameters by specification, configurations, norms, feed-forward parts and a decoder. */
export {
  type AttentionNames, type AttentionSizes, type AttentionState, cacheLength, fanInInit, mergeHeads, projectHeads, windowAttention,
  type WindowSettings,
} from "./attention";
export {
  type Block, type BlockResult, layerNormBlock, leavesOf, type Norm, prefixed, rmsNormBlock, type StateOf, type StatePart, type StateParts,
  type Stream, summed, zeroState,
} from "./block";
export {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, type Field, type Fields, flagField, listField, nullableField,
  numberField, type NumberRange, optionalField, type OptionalField, pairField, readConfig, sectionField, wholeField,
} from "./config";
export {
  checkTokens, type Decoder, decoder, type DecoderOptions, type DecoderSpecs, type DecoderState, type Layer, layerSpecs, type LayerSpecs,
  layerState, type LayerStateOf, runLayer, runSubLayer, type SubLayer, type SubLayerSpecs,
} from "./decoder";
export { stateCheck } from "./checkState";
export { type Form, form, joinForms, partOfTensor, reshaped, transposed } from "./forms";
export { constantInit, elementsInit, type Init, type InitPlace, normalInit, uniformInit } from "./init";
export {
  type AnySpecs, type Bound, matrix, type Names, parameter, type ParameterOptions, type ParameterSet, parameterSet, type ParameterSpec,
  type Specs, stack, type StoredName, under,
} from "./parameters";
export { squaredRelu } from "./squaredRelu";
export { swiGlu, swiGluOfThree, type SwiGluOptions } from "./swiGlu";
export { shiftState, shortConvolution, type ShortConvolution, type ShortConvolutionOptions, tokenShift } from "./time";
export { TRANSFORMERS_FIELDS } from "./transformersFields";
