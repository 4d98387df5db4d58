import type { RandomKernels } from "../../ops/random";
import type { Launch } from "./launch";

export const random = (launch: Launch): RandomKernels => ({
  randomUniform: ({ out, key, low, range }) => launch("randomUniform", [out], [...key, low, range]),
  randomNormal: ({ out, key, mean, std }) => launch("randomNormal", [out], [...key, mean, std]),
});
