/** GGUF, the file of llama.cpp. Import as `@lenggen/kernels/gguf`. */
export { encodeGguf, type GgufDType, type GgufMetadata, type GgufTensor } from "./container";
export { numbersIn, numbersOf, type ParameterNumbers } from "./numbers";
export { byteVocabulary, type GgufVocabulary } from "./vocabulary";
