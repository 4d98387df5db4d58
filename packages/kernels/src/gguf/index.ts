/** GGUF, the file of llama.cpp. Import as `@lenggen/kernels/gguf`. */
export { bpeVocabulary } from "./bpe";
export { encodeGguf, type GgufDType, type GgufFile, type GgufMetadata, type GgufTensor } from "./container";
export { numbersIn, numbersOf, type ParameterNumbers } from "./numbers";
export { bytesVocabulary, byteVocabulary, type GgufVocabulary } from "./vocabulary";
