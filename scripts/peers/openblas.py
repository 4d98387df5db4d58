"""Peer of `lenggen bench matmul`: NumPy on OpenBLAS, single precision, in GFLOP/s.

    apt-get install python3-numpy libopenblas0-pthread
    OPENBLAS_NUM_THREADS=1 python3 scripts/peers/openblas.py
"""
import json
import time

import numpy

SHAPES = [(n, n, n) for n in (128, 256, 512, 1024)] + [(2048, 128, 648), (2048, 256, 128), (2048, 128, 256)]

results = []
for m, k, n in SHAPES:
    a = numpy.random.rand(m, k).astype(numpy.float32)
    b = numpy.random.rand(k, n).astype(numpy.float32)
    c = numpy.empty((m, n), numpy.float32)
    repeats = max(1, int(2e9 / (2 * m * k * n)))
    best = float("inf")
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(repeats):
            numpy.matmul(a, b, out=c)
        best = min(best, (time.perf_counter() - start) / repeats)
    results.append({"kernel": "matmul", "shape": f"{m}x{k}x{n}", "ms": best * 1e3, "gflops": 2e-9 * m * k * n / best})
print(json.dumps({"peer": f"NumPy {numpy.__version__} on OpenBLAS", "results": results}, indent=1))
