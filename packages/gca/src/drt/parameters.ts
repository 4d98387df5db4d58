/**
 * Names and shapes of a DRT's parameters. The embedding has one row more than there are tokens: the landmark's. Keys and
 * values of the memory are projected once and shared by all upper layers.
 */
import { layerShapes } from "../layer/layer";
import type { DrtConfig } from "./config";

export function drtShapes(c: DrtConfig): Record<string, number[]> {
  const shapes: Record<string, number[]> = { "embedding.weight": [c.vocabulary + 1, c.width] };
  const layer = (prefix: string, more: Record<string, number[]> = {}) => {
    for (const [name, shape] of Object.entries({ ...layerShapes(c), ...more })) shapes[`${prefix}.${name}`] = shape;
  };
  for (let i = 0; i < c.lower; i++) layer(`lower.${i}`);
  shapes["encoder.input_norm.weight"] = [c.width];
  for (let i = 0; i < c.encoder; i++) layer(`encoder.layers.${i}`);
  shapes["encoder.norm.weight"] = [c.width];
  shapes["memory.keys.weight"] = [c.keyHeads * c.headSize, c.width];
  shapes["memory.values.weight"] = [c.keyHeads * c.headSize, c.width];
  let index = 0;
  c.groups.forEach((size, group) => {
    shapes[`groups.${group}.query_norm.weight`] = [c.width];
    for (let i = 0; i < size; i++) {
      layer(`upper.${index++}`, {
        "retrieval_norm.weight": [c.width],
        "retrieval.query.weight": [c.heads * c.headSize, c.width],
        "retrieval.out.weight": [c.width, c.heads * c.headSize],
      });
    }
  });
  shapes["norm.weight"] = [c.width];
  return shapes;
}
