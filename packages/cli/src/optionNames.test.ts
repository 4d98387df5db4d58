import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { evaluate } from "./commands/eval";
import { train } from "./commands/train";
import { inOptions } from "./optionNames";

const optionsOf = ({ name, define }: typeof train) => define(new Command(name)).options;

describe("names of settings in messages", () => {
  it.each([
    ["layers.0.k is empty at first; resetPer must be batch", "layers.0.k is empty at first; --set reset-per must be batch"],
    ["leave noisyConvolution false", "leave --set noisy-convolution false"],
    ["schedule: learningRate is -1", "schedule: --learning-rate is -1"],
    ["its length (scheduleSteps)", "its length (--schedule-steps)"],
    ["schedule.learningRate: 0.03 there, 1 here", "schedule.learningRate: 0.03 there, 1 here"],
    ["runs/resetPer: there is no such folder", "runs/resetPer: there is no such folder"],
    ["warmup is 4, toString is no name", "warmup is 4, toString is no name"],
  ])("of train: %s", (message, said) => expect(inOptions(message, optionsOf(train))).toBe(said));

  it("are those of the command that runs", () => {
    expect(inOptions("keyLength and resetPer", optionsOf(evaluate))).toMatch(/^--set key-length and resetPer$/);
    expect(inOptions("keyLength and resetPer", [])).toBe("keyLength and resetPer");
  });
});
