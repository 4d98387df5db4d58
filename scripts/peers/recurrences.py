"""Peer of `lenggen bench`, run by recurrences.mjs: the recurrences of the scans, step by step in PyTorch operations.

    apt-get install python3-torch
    python3 scripts/peers/recurrences.py [threads] [steps]

Prints, one line a scan, microseconds per time step of the forward pass, and of forward pass and gradient of all inputs. The time of a
recurrence grows with its length alone, so that 512 steps tell what 4096 cost (whose gradient would keep 20 GB of states).
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

THREADS, STEPS = [int(given) for given in sys.argv[1:]] + [2, 512][len(sys.argv) - 1:]


def ssd(x, dt, a, b, c):
    """Mamba-2: S = exp(a) S + dt x bᵀ, y = S c. x [T,H,P], dt and a [T,H], b and c [T,N]."""
    state = x.new_zeros(*x.shape[1:], b.shape[-1])
    outputs = []
    for t in range(len(x)):
        state = state * a[t].exp()[:, None, None] + (dt[t][:, None] * x[t])[..., None] * b[t]
        outputs.append(state @ c[t])
    return torch.stack(outputs)


def selective_scan(x, dt, a, b, c):
    """Mamba-1: S = exp(dt a) S + dt x b, y = S c. x and dt [T,D], a [D,N], b and c [T,N]."""
    state = torch.zeros_like(a)
    outputs = []
    for t in range(len(x)):
        state = state * (dt[t][:, None] * a).exp() + (dt[t] * x[t])[:, None] * b[t]
        outputs.append(state @ c[t])
    return torch.stack(outputs)


def gated_linear_attention(q, k, v, a):
    """GLA: S = diag(exp a) S + k vᵀ, y = Sᵀ q. q, k and a [T,H,K], v [T,H,V]."""
    state = v.new_zeros(q.shape[1], q.shape[2], v.shape[2])
    outputs = []
    for t in range(len(q)):
        state = state * a[t].exp()[..., None] + k[t][..., None] * v[t][:, None]
        outputs.append((q[t][:, None] @ state)[:, 0])
    return torch.stack(outputs)


def rwkv6(q, k, v, a, u):
    """RWKV-6: y = (S + diag(u) k vᵀ)ᵀ q, then S = diag(exp a) S + k vᵀ. u [H,K]."""
    state = v.new_zeros(q.shape[1], q.shape[2], v.shape[2])
    outputs = []
    for t in range(len(q)):
        added = k[t][..., None] * v[t][:, None]
        outputs.append((q[t][:, None] @ (state + u[..., None] * added))[:, 0])
        state = state * a[t].exp()[..., None] + added
    return torch.stack(outputs)


def delta_rule(q, k, v, a, remove, write):
    """RWKV-7: S = diag(exp a) S + write (removeᵀ S) + k vᵀ, y = Sᵀ q. remove and write [T,H,K]."""
    state = v.new_zeros(q.shape[1], q.shape[2], v.shape[2])
    outputs = []
    for t in range(len(q)):
        removed = remove[t][:, None] @ state
        state = state * a[t].exp()[..., None] + write[t][..., None] * removed + k[t][..., None] * v[t][:, None]
        outputs.append((q[t][:, None] @ state)[:, 0])
    return torch.stack(outputs)


def gated_delta_rule(q, k, v, a, beta):
    """Gated DeltaNet: S = exp(a) S, then S + k (beta (v - Sᵀ k))ᵀ, y = Sᵀ q. a and beta [T,H]."""
    state = v.new_zeros(q.shape[1], q.shape[2], v.shape[2])
    outputs = []
    for t in range(len(q)):
        state = state * a[t].exp()[:, None, None]
        new = beta[t][:, None] * (v[t] - (k[t][:, None] @ state)[:, 0])
        state = state + k[t][..., None] * new[:, None]
        outputs.append((q[t][:, None] @ state)[:, 0])
    return torch.stack(outputs)


def normal(*shape):
    return torch.randn(*shape)


def decay(*shape):
    return -torch.rand(*shape) * 0.1


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


T = STEPS
CASES = {
    "ssd H=24 P=64 G=1 N=128": (ssd, lambda: (normal(T, 24, 64), torch.rand(T, 24) * 0.1, decay(T, 24), normal(T, 128), normal(T, 128))),
    "selectiveScan D=1536 N=16": (
        selective_scan, lambda: (normal(T, 1536), torch.rand(T, 1536) * 0.1, -torch.rand(1536, 16) * 16, normal(T, 16), normal(T, 16))),
    "gatedLinearAttention H=4 K=128 V=256": (
        gated_linear_attention, lambda: (normal(T, 4, 128), normal(T, 4, 128), normal(T, 4, 256), decay(T, 4, 128))),
    "gatedLinearAttention H=12 K=64 V=64 bonus": (
        rwkv6, lambda: (normal(T, 12, 64), normal(T, 12, 64), normal(T, 12, 64), decay(T, 12, 64), normal(12, 64))),
    "deltaRule H=12 K=64 V=64": (
        delta_rule, lambda: (normal(T, 12, 64), normal(T, 12, 64), normal(T, 12, 64), decay(T, 12, 64), -unit(T, 12, 64), unit(T, 12, 64))),
    "gatedDeltaRule H=6 K=256 V=512": (
        gated_delta_rule, lambda: (unit(T, 6, 256), unit(T, 6, 256), normal(T, 6, 512), decay(T, 6), torch.rand(T, 6))),
}


def fastest(run, tries=3):
    """The least of some times, in microseconds a step."""
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) / T * 1e6


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    for name, (scan, draw) in CASES.items():
        inputs = draw()
        with torch.no_grad():
            forward = fastest(lambda: scan(*inputs))
        tracked = [given.requires_grad_() for given in inputs]

        def both():
            y = scan(*tracked)
            torch.autograd.grad(y, tracked, torch.ones_like(y))

        print(json.dumps({"scan": name, "peer": f"PyTorch {torch.__version__}", "threads": THREADS, "steps": T,
                          "forward_us_per_step": round(forward, 2), "both_us_per_step": round(fastest(both), 2)}), flush=True)


main()
