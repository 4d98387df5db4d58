"""Peer of `lenggen bench training`: the same byte-level Mamba-2 in PyTorch, with the chunked scan written in einsums.

    apt-get install python3-torch
    python3 scripts/peers/pytorch.py [threads]

Prints tokens per second of whole training steps (forward, gradient, clipping, AdamW).
"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, WIDTH, HEAD, CHUNK, KERNEL = 256, 128, 32, 64, 4
INNER = 2 * WIDTH
HEADS = INNER // HEAD


def rms_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight


class Mixer(nn.Module):
    def __init__(self, states):
        super().__init__()
        self.states = states
        self.norm = nn.Parameter(torch.ones(WIDTH))
        self.in_proj = nn.Linear(WIDTH, 2 * INNER + 2 * states + HEADS, bias=False)
        self.conv = nn.Parameter((torch.rand(INNER + 2 * states, KERNEL) * 2 - 1) / math.sqrt(KERNEL))
        self.conv_bias = nn.Parameter(torch.zeros(INNER + 2 * states))
        self.dt_bias = nn.Parameter(torch.full((HEADS,), -4.0))
        self.a_log = nn.Parameter(torch.zeros(HEADS))
        self.d = nn.Parameter(torch.ones(HEADS))
        self.gate_norm = nn.Parameter(torch.ones(INNER))
        self.out_proj = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, residual):
        batch, steps, _ = residual.shape
        z, x, dt = self.in_proj(rms_norm(residual, self.norm)).split([INNER, INNER + 2 * self.states, HEADS], -1)
        padded = F.pad(x, (0, 0, KERNEL - 1, 0))
        x = F.silu(self.conv_bias + sum(padded[:, k : k + steps] * self.conv[:, k] for k in range(KERNEL)))
        x, b, c = x.split([INNER, self.states, self.states], -1)
        x = x.view(batch, steps, HEADS, HEAD)
        dt = F.softplus(dt + self.dt_bias)
        y = self.scan(x * dt[..., None], -self.a_log.exp() * dt, b, c) + self.d[:, None] * x
        return residual + self.out_proj(rms_norm(y.reshape(batch, steps, INNER) * F.silu(z), self.gate_norm))

    def scan(self, x, a, b, c):
        state = x.new_zeros(x.shape[0], HEADS, HEAD, self.states)
        causal = torch.ones(CHUNK, CHUNK, dtype=torch.bool).tril()
        outputs = []
        for start in range(0, x.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            decay = a[:, part].transpose(1, 2).cumsum(-1)
            mask = (decay[..., :, None] - decay[..., None, :]).masked_fill(~causal, -1e30).exp()
            scores = torch.einsum("bln,bsn->bls", c[:, part], b[:, part])
            inside = torch.einsum("bhls,bshp->blhp", scores[:, None] * mask, x[:, part])
            outputs.append(inside + torch.einsum("bln,bhpn,bhl->blhp", c[:, part], state, decay.exp()))
            left = (decay[..., -1:] - decay).exp()
            state = state * decay[..., -1].exp()[..., None, None] + torch.einsum("bln,bhl,blhp->bhpn", b[:, part], left, x[:, part])
        return torch.cat(outputs, 1)


class Model(nn.Module):
    def __init__(self, layers, states):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(VOCABULARY, WIDTH) * 0.02)
        self.layers = nn.Sequential(*[Mixer(states) for _ in range(layers)])
        self.norm = nn.Parameter(torch.ones(WIDTH))

    def forward(self, tokens):
        return rms_norm(self.layers(self.embedding[tokens]), self.norm) @ self.embedding.T


def measure(layers, states, steps, batch):
    model = Model(layers, states)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(VOCABULARY, (batch, steps + 1))
    times = []
    for _ in range(8):
        start = time.perf_counter()
        loss = F.cross_entropy(model(tokens[:, :-1]).reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    shape = f"d={WIDTH} layers={layers} N={states} P={HEAD} T={steps} batch={batch}"
    return {"kernel": "training step", "shape": shape, "tokensPerSecond": batch * steps / min(times)}


if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))
results = [measure(3, 64, 128, 16), measure(4, 256, 64, 32)]
print(json.dumps({"peer": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads(), "results": results}, indent=1))
