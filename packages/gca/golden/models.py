"""
The Differentiable Retrieval-based Transformer (Hu et al., ICML 2025) and the decoder that it is compared with, in float64, by the
equations and nothing else: lists of numbers, one place of one stream after the other, the whole stream at once. It shares no code and
no structure with the package, and needs Python 3.9 alone.

    python3 packages/gca/golden/models.py      writes models.json beside it, in a few minutes

Gradients are by complex steps (Squire & Trapp 1998): df/dx = Im f(x + ih) / h, exact but for rounding, since nothing is subtracted.

Parameters follow from their names. Number i of the tensor NAME, in row-major order, is made from the 32-bit FNV-1a hash of the text
"NAME i", mixed once more: hash = (hash xor hash >> 15) · 0x2c1b3c6d mod 2^32. With u = (hash >> 12) / 2^20 - 1/2, it is 1 + u/2 for the
weight of a norm and 2u for all else. Float32 holds all of these exactly.
"""

import cmath
import json
import math
import multiprocessing
import operator
import pathlib

STEP = 1e-30


# ---- numbers, vectors (lists of numbers) and matrices (lists of rows)


def exp(x):
    return cmath.exp(x) if isinstance(x, complex) else math.exp(x)


def log(x):
    return cmath.log(x) if isinstance(x, complex) else math.log(x)


def real(x):
    return x.real if isinstance(x, complex) else x


def dot(a, b):
    return sum(map(operator.mul, a, b))


def plus(a, b):
    return list(map(operator.add, a, b))


def times(matrix, x):
    return [dot(row, x) for row in matrix]


def mixture(weights, vectors, width):
    """The sum of vectors by their weights; zeros for none."""
    return [sum(w * vector[i] for w, vector in zip(weights, vectors)) for i in range(width)]


def softmax(scores, beside=0.0):
    """exp(s_i) / (beside + sum of all exp(s_j))"""
    powers = [exp(s) for s in scores]
    total = sum(powers) + beside
    return [power / total for power in powers]


def rms_norm(x, weight, eps):
    scale = (dot(x, x) / len(x) + eps) ** -0.5
    return [scale * value * w for value, w in zip(x, weight)]


# ---- parameters


def draw(name, count):
    numbers = []
    for i in range(count):
        word = 0x811C9DC5
        for byte in f"{name} {i}".encode():
            word = (word ^ byte) * 0x01000193 % 2**32
        word = (word ^ word >> 15) * 0x2C1B3C6D % 2**32
        u = (word >> 12) / 2**20 - 0.5
        numbers.append(1 + u / 2 if name.endswith("norm.weight") else 2 * u)
    return numbers


def rows(flat, shape):
    return flat if len(shape) == 1 else [flat[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]


class Model:
    """Sizes by the names of config.json."""

    def __init__(self, config):
        self.config = config
        self.family = config["model_type"]
        self.vocabulary = config["vocab_size"]
        self.width = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.key_heads = config["num_key_value_heads"]
        self.head = self.width // self.heads
        self.inner = config["intermediate_size"]
        self.window = config["window"] or math.inf
        self.eps = config["rms_norm_eps"]
        self.theta = config["rope_theta"]
        self.is_drt = self.family == "drt"
        self.groups = config["upper_groups"] if self.is_drt else []
        self.shapes = {}
        self.describe()

    def describe(self):
        """Names and shapes of the parameters."""
        width, keys = self.width, self.key_heads * self.head
        self.shapes["embedding.weight"] = [self.vocabulary + (1 if self.is_drt else 0), width]

        def layer(prefix, retrieves=False):
            self.shapes[prefix + "attention_norm.weight"] = [width]
            self.shapes[prefix + "attention.qkv.weight"] = [width + 2 * keys, width]
            self.shapes[prefix + "attention.out.weight"] = [width, width]
            self.shapes[prefix + "mlp_norm.weight"] = [width]
            self.shapes[prefix + "mlp.in.weight"] = [2 * self.inner, width]
            self.shapes[prefix + "mlp.out.weight"] = [width, self.inner]
            if retrieves:
                self.shapes[prefix + "retrieval_norm.weight"] = [width]
                self.shapes[prefix + "retrieval.query.weight"] = [width, width]
                self.shapes[prefix + "retrieval.out.weight"] = [width, width]

        self.shapes["norm.weight"] = [width]
        if not self.is_drt:
            for i in range(self.config["num_hidden_layers"]):
                layer(f"layers.{i}.")
            return
        for i in range(self.config["lower_layers"]):
            layer(f"lower.{i}.")
        self.shapes["encoder.input_norm.weight"] = [width]
        for i in range(self.config["encoder_layers"]):
            layer(f"encoder.layers.{i}.")
        self.shapes["encoder.norm.weight"] = [width]
        self.shapes["memory.keys.weight"] = [keys, width]
        self.shapes["memory.values.weight"] = [keys, width]
        for g in range(len(self.groups)):
            self.shapes[f"groups.{g}.query_norm.weight"] = [width]
        for i in range(sum(self.groups)):
            layer(f"upper.{i}.", retrieves=True)

    def parameters(self):
        return {name: rows(draw(name, math.prod(shape)), shape) for name, shape in self.shapes.items()}

    # ---- attention

    def split(self, x):
        """The heads of a vector."""
        return [x[i : i + self.head] for i in range(0, len(x), self.head)]

    def key_head(self, h):
        """The head of keys and values that query head h reads: heads share them in equal groups."""
        return h // (self.heads // self.key_heads)

    def rotated(self, x, place):
        """RoPE of one head: the pair (x_i, x_{i + half}) as a complex number, turned by place · theta^(-2i / head)."""
        half = self.head // 2
        turned = list(x)
        for i in range(half):
            angle = place * self.theta ** (-2 * i / self.head)
            turned[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
            turned[i + half] = x[i] * math.sin(angle) + x[i + half] * math.cos(angle)
        return turned

    def self_attention(self, p, prefix, xs, position, causal):
        """What attention gives for each of the normed places xs, and the keys and values as projected."""
        keys = self.key_heads * self.head
        projected = [times(p[prefix + "attention.qkv.weight"], x) for x in xs]
        q = [self.split(x[: self.width]) for x in projected]
        k = [self.split(x[self.width : self.width + keys]) for x in projected]
        v = [self.split(x[self.width + keys :]) for x in projected]
        plain = k
        if position == "rope":
            q, k = ([[self.rotated(x, t) for x in heads] for t, heads in enumerate(side)] for side in (q, k))
        outputs = []
        for t in range(len(xs)):
            seen = [j for j in range(len(xs)) if not causal or t - self.window < j <= t]
            merged = []
            for h in range(self.heads):
                g = self.key_head(h)
                slope = 2 ** (-8 * (h + 1) / self.heads) if position == "alibi" else 0.0
                scores = [dot(q[t][h], k[j][g]) / math.sqrt(self.head) - slope * (t - j) for j in seen]
                merged += mixture(softmax(scores), [v[j][g] for j in seen], self.head)
            outputs.append(times(p[prefix + "attention.out.weight"], merged))
        return outputs, plain, v

    def feed_forward(self, p, prefix, x):
        """SwiGLU"""
        opened = times(p[prefix + "mlp.in.weight"], x)
        gate, up = opened[: self.inner], opened[self.inner :]
        return times(p[prefix + "mlp.out.weight"], [g / (1 + exp(-g)) * u for g, u in zip(gate, up)])

    def layer(self, p, prefix, hs, position, causal=True, memory=None):
        """
        h = h + SelfAttention(norm h), then h = h + MLP(norm h). `memory(t, x)`, where there is one, gives what the place t retrieved, which
        the MLP sees and the stream does not: h = h + MLP(norm(h + memory(norm h))).
        """
        normed = [rms_norm(h, p[prefix + "attention_norm.weight"], self.eps) for h in hs]
        attended, k, v = self.self_attention(p, prefix, normed, position, causal)
        after = []
        for t, h in enumerate(map(plus, hs, attended)):
            seen = h
            if memory:
                seen = plus(h, memory(t, rms_norm(h, p[prefix + "retrieval_norm.weight"], self.eps)))
            after.append(plus(h, self.feed_forward(p, prefix, rms_norm(seen, p[prefix + "mlp_norm.weight"], self.eps))))
        return after, k, v

    # ---- models: one stream of tokens -> what they predict from, and what is remembered

    def run(self, p, tokens, case, row):
        return self.run_drt(p, tokens, case, row) if self.is_drt else self.run_decoder(p, tokens)

    def run_decoder(self, p, tokens):
        hs = [p["embedding.weight"][token] for token in tokens]
        windows = []
        for i in range(self.config["num_hidden_layers"]):
            hs, k, v = self.layer(p, f"layers.{i}.", hs, self.config["position"])
            windows.append(self.last(k, v))
        return [rms_norm(h, p["norm.weight"], self.eps) for h in hs], {"windows": windows}

    def last(self, k, v):
        """What a window of so many places still sees from the next one."""
        kept = len(k) if math.isinf(self.window) else self.window - 1
        return {"k": k[-kept:], "v": v[-kept:]}

    def stream(self, tokens, ends):
        """
        Places of a stream: (token or None for a landmark, number of its chunk). A chunk ends with its landmark after `chunk_size` tokens,
        or early after as many tokens of the stream as one of `ends` says. Where a chunk has just ended, the first end changes nothing,
        and each further one makes a chunk without tokens.
        """
        places, chunk, held = [], 0, 0

        def close():
            nonlocal chunk, held
            places.append((None, chunk))
            chunk, held = chunk + 1, 0

        for count in range(len(tokens) + 1):
            asked = ends.count(count)
            for _ in range(asked if held else asked - 1):
                close()
            if count < len(tokens):
                places.append((tokens[count], chunk))
                held += 1
                if held == self.config["chunk_size"]:
                    close()
        return places, chunk

    def encode(self, p, hs):
        """A chunk, landmark first, seen both ways: the landmark's vector, and keys and values of the tokens."""
        xs = [rms_norm(h, p["encoder.input_norm.weight"], self.eps) for h in hs]
        for i in range(self.config["encoder_layers"]):
            xs, _, _ = self.layer(p, f"encoder.layers.{i}.", xs, "rope", causal=False)
        landmark, *rest = [rms_norm(x, p["encoder.norm.weight"], self.eps) for x in xs]
        sides = {side: [self.split(times(p[f"memory.{side}.weight"], x)) for x in rest] for side in ("keys", "values")}
        return {"landmark": landmark, **sides}

    def retrieve(self, query, chunks, noise):
        """The best chunks for a query, best first, as (number, weight)."""
        scores = [dot(query, chunk["landmark"]) / math.sqrt(self.width) for chunk in chunks]
        ranks = [real(score) + noise(j) for j, score in enumerate(scores)]
        order = sorted(range(len(chunks)), key=lambda j: -ranks[j])
        close = [abs(ranks[a] - ranks[b]) for a, b in zip(order, order[1:])]
        assert all(gap > 1e-4 for gap in close), f"two chunks rank alike, so that float32 may take another: {min(close)}"
        best = order[: self.config["top_k"]]
        return list(zip(best, softmax([scores[j] for j in best])))

    def run_drt(self, p, tokens, case, row):
        places, count = self.stream(tokens, case["ends"])
        position = self.config["position"]
        windows = []
        hs = [p["embedding.weight"][self.vocabulary if token is None else token] for token, _ in places]
        for i in range(self.config["lower_layers"]):
            hs, k, v = self.layer(p, f"lower.{i}.", hs, position)
            windows.append(self.last(k, v))

        members = [[t for t, (token, c) in enumerate(places) if c == chunk and token is not None] for chunk in range(count + 1)]
        landmarks = [t for t, (token, _) in enumerate(places) if token is None]
        chunks = [self.encode(p, [hs[t] for t in [landmarks[c], *members[c]]]) for c in range(count)]
        state = {
            "memory": {
                "lengths": [len(member) for member in members[:count]],
                "landmarks": [chunk["landmark"] for chunk in chunks],
                "keys": [chunk["keys"] for chunk in chunks],
                "values": [chunk["values"] for chunk in chunks],
            },
            "pending": [hs[t] for t in members[count]],
            "retrieved": [],
        }

        beside = 1.0 if self.config["softmax_off_by_one"] else 0.0
        index = 0
        for g, size in enumerate(self.groups):
            picks = []
            for c in range(count):
                query = rms_norm(hs[landmarks[c]], p[f"groups.{g}.query_norm.weight"], self.eps)
                noise = gumbel(case["key"], g, lambda j: (row * count + c) * count + j)
                picks.append(self.retrieve(query, chunks[:c], noise))
            state["retrieved"].append(picks)

            for _ in range(size):
                prefix = f"upper.{index}."

                # A landmark retrieves for the places behind it, up to and with the next landmark.
                def memory(t, x, prefix=prefix, picks=picks):
                    chunk = places[t][1]
                    found = picks[chunk - 1] if chunk > 0 else []
                    merged = []
                    for h, q in enumerate(self.split(times(p[prefix + "retrieval.query.weight"], x))):
                        out = [0.0] * self.head
                        for j, weight in found:
                            keys = [heads[self.key_head(h)] for heads in chunks[j]["keys"]]
                            values = [heads[self.key_head(h)] for heads in chunks[j]["values"]]
                            if keys:
                                shares = softmax([dot(q, key) / math.sqrt(self.head) for key in keys], beside)
                                out = plus(out, mixture([weight * share for share in shares], values, self.head))
                        merged += out
                    return times(p[prefix + "retrieval.out.weight"], merged)

                hs, k, v = self.layer(p, prefix, hs, position, memory=memory)
                windows.append(self.last(k, v))
                index += 1
        state["windows"] = windows
        normed = [rms_norm(h, p["norm.weight"], self.eps) for h in hs]
        return [h for h, (token, _) in zip(normed, places) if token is not None], state


# ---- random numbers: Threefry-2x32 with 20 rounds (Salmon et al., SC 2011)


def threefry(key, counter):
    words = 2**32
    ks = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = (counter[0] + ks[0]) % words, (counter[1] + ks[1]) % words
    for step in range(5):
        for distance in ((13, 15, 26, 6), (17, 29, 16, 24))[step % 2]:
            a = (a + b) % words
            b = (b << distance | b >> 32 - distance) % words ^ a
        a = (a + ks[(step + 1) % 3]) % words
        b = (b + ks[(step + 2) % 3] + step + 1) % words
    return a, b


def gumbel(seed, group, word):
    """Gumbel noise for the number j of a chunk from word(j) of the group's key; none without a seed."""
    if seed is None:
        return lambda j: 0.0
    key = threefry((seed, 0), (group, 0xFFFFFFFE))

    def noise(j):
        block, half = divmod(word(j), 2)
        u = (2 * (threefry(key, (block, 0))[half] >> 9) + 1) / 2**24
        return -math.log(-math.log(u))

    return noise


# ---- cases


def streams(case):
    """Each row of a batch: what is read, and what has to be predicted."""
    return [(line[:-1], line[1:]) for line in case["tokens"]]


def loss_of(model, p, case):
    """Mean cross-entropy of the next token; the output matrix is the embedding of the tokens."""
    total, count = 0.0, 0
    for row, (tokens, targets) in enumerate(streams(case)):
        hidden, _ = model.run(p, tokens, case, row)
        for h, target in zip(hidden, targets):
            scores = times(p["embedding.weight"][: model.vocabulary], h)
            total += log(sum(map(exp, scores))) - scores[target]
            count += 1
    return total / count


def gradient(task):
    """The gradient of the loss by all numbers of one tensor."""
    case, name = task
    model = Model(case["config"])
    p = model.parameters()
    shape = model.shapes[name]
    flat = draw(name, math.prod(shape))
    slopes = []
    for i, value in enumerate(flat):
        moved = flat[:i] + [value + 1j * STEP] + flat[i + 1 :]
        slope = loss_of(model, {**p, name: rows(moved, shape)}, case)
        slopes.append(slope.imag / STEP if isinstance(slope, complex) else 0.0)
    return slopes


SIZES = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 6, "num_attention_heads": 2, "num_key_value_heads": 2,
         "rms_norm_eps": 1e-5, "rope_theta": 10000}
DECODER = {"model_type": "transformer", **SIZES, "num_hidden_layers": 2}
DRT = {"model_type": "drt", **SIZES, "lower_layers": 1, "encoder_layers": 1, "chunk_size": 3, "window": 5, "position": "alibi", "top_k": 2,
       "softmax_off_by_one": True, "gumbel_noise": True}

TOKENS = [[(7 * i * i + 3 * i + i // 4 + 5 * row) % 11 for i in range(18)] for row in range(2)]

CASES = {
    "one retrieval for two layers": {"config": {**DRT, "upper_groups": [2]}},
    "two retrievals, shared key heads, chunks that end early, a chunk without tokens, plain softmax": {
        "config": {**DRT, "upper_groups": [1, 1], "num_key_value_heads": 1, "softmax_off_by_one": False},
        "ends": [2, 5, 7, 7, 7, 13],
    },
    "two retrievals with rotation and noise, two encoder layers": {
        "config": {**DRT, "upper_groups": [1, 1], "encoder_layers": 2, "position": "rope", "rope_theta": 100, "rms_norm_eps": 0.01},
        "key": 7,
    },
    "a decoder with a window and linear biases of three heads": {
        "config": {**DECODER, "hidden_size": 12, "num_attention_heads": 3, "num_key_value_heads": 1, "window": 4, "position": "alibi"},
    },
    "a decoder with a window and rotation": {"config": {**DECODER, "window": 4, "position": "rope"}},
    "a decoder that sees all, with rotation": {
        "config": {**DECODER, "num_attention_heads": 1, "num_key_value_heads": 1, "window": None, "position": "rope", "rope_theta": 50},
    },
}


def evaluated(case, pool):
    model = Model(case["config"])
    p = model.parameters()
    results = [model.run(p, tokens, case, row) for row, (tokens, _) in enumerate(streams(case))]
    slopes = pool.map(gradient, [(case, name) for name in model.shapes], chunksize=1)
    return {
        **case,
        "logits": [[times(p["embedding.weight"][: model.vocabulary], h) for h in hidden] for hidden, _ in results],
        "loss": loss_of(model, p, case),
        "states": [state for _, state in results],
        "shapes": model.shapes,
        "gradients": dict(zip(model.shapes, slopes)),
    }


def rounded(x):
    """Thirteen digits of every number in a tree: ten are compared."""
    if isinstance(x, float):
        return float(f"{x:.13g}")
    if isinstance(x, dict):
        return {name: rounded(value) for name, value in x.items()}
    return [rounded(value) for value in x] if isinstance(x, (list, tuple)) else x


def main():
    with multiprocessing.Pool() as pool:
        found = {}
        for name, case in CASES.items():
            found[name] = evaluated({"ends": [], "key": None, "tokens": TOKENS, **case}, pool)
            print(f"{name}: loss {found[name]['loss']}")
    lines = []
    for name, case in found.items():
        fields = [f"    {json.dumps(field)}: {json.dumps(rounded(value), separators=(',', ':'))}" for field, value in case.items()]
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n  }")
    pathlib.Path(__file__).with_name("models.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
