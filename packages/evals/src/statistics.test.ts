import { expect, test } from "vitest";
import { meanInterval, quotient, ratioInterval, studentT975, wilsonInterval } from "./statistics";

test("t-interval of a mean, against values worked out elsewhere", () => {
  // R: t.test(c(1, 2, 3, 4)) -> 0.4457397 4.5542603
  const [low, high] = meanInterval([1, 2, 3, 4])!;
  expect(low).toBeCloseTo(0.44574, 4);
  expect(high).toBeCloseTo(4.55426, 4);
  expect(meanInterval([1])).toBeNull();
});

test("quantiles of Student's t beyond the table", () => {
  // qt(0.975, c(31, 60, 120))
  expect(studentT975(31)).toBeCloseTo(2.0395, 2);
  expect(studentT975(60)).toBeCloseTo(2.0003, 2);
  expect(studentT975(120)).toBeCloseTo(1.9799, 3);
});

test("the interval of a ratio is paired: texts of different difficulty do not widen it", () => {
  const reference = [1, 2, 3, 4];
  const [low, high] = ratioInterval(reference.map((r) => 1.1 * r), reference)!;
  expect(low).toBeCloseTo(1.1, 12);
  expect(high).toBeCloseTo(1.1, 12);
  const [wider, up] = ratioInterval([1.2, 2.2, 3.3, 4.2], reference)!;
  expect(up - wider).toBeGreaterThan(0.01);
  expect((up + wider) / 2).toBeCloseTo(1.09, 12);
  expect(ratioInterval([1], [2])).toBeNull();
});

test("Wilson's interval", () => {
  // binom.confint(c(0, 8, 10), 10, methods = "wilson")
  const close = ([a, b]: readonly [number, number], [c, d]: readonly [number, number]) => {
    expect(a).toBeCloseTo(c, 4);
    expect(b).toBeCloseTo(d, 4);
  };
  close(wilsonInterval(0, 10), [0, 0.27753]);
  close(wilsonInterval(8, 10), [0.49016, 0.94332]);
  close(wilsonInterval(10, 10), [0.72247, 1]);
  close(wilsonInterval(0, 0), [0, 1]);
});

test("a text that is known by heart has a loss of 0 with any history: the ratio is 1, and has no interval", () => {
  expect(quotient(0, 0)).toBe(1);
  expect(quotient(3, 2)).toBe(1.5);
  expect(ratioInterval([0, 0, 0], [0, 0, 0])).toBeNull();
});
