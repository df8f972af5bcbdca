"""Merges by trimmed task vectors, spherical interpolation and weighted sums, restated in NumPy.

    python task_vectors.py ../../merge/src/test/resources/task-vectors.safetensors
    python task_vectors.py --check MERGEKIT FILE     compares FILE with the functions of a checkout of mergekit, in torch

Tensors of the file are "base/NAME", "one/NAME", "two/NAME", "three/NAME" and "CASE/NAME" with what comes out; its
metadata has the cases as JSON. Differences, terms, sums and quotients are float32, as mergekit computes on the CPU with
dtype: float32; sums of magnitudes and angles are float64. Draws are the hash that java/kernels' Kept describes, with the
seed of java/merge's SparseTaskArithmetic.
"""
import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

MODELS = ["one", "two", "three"]
M64 = (1 << 64) - 1
CASES = {
    "ties": dict(method="ties", weight=[1, 0.5, 0.7], density=[0.3, 0.5, 0.8]),
    "ties-sum": dict(method="ties", weight=[1, 1, 1], density=[0.2], normalize=False, factor=0.3),
    "ties-rescaled": dict(method="ties", weight=[1, -0.5, 0.25], density=[0.4], rescale="l1"),
    "ties-dense": dict(method="ties", weight=[1, 1, 1], density=[1]),
    "breadcrumbs": dict(method="breadcrumbs", weight=[0.4, 0.3, 0.3], density=[0.7], gamma=[0.02]),
    "breadcrumbs-ties": dict(method="breadcrumbs_ties", weight=[1, 1, 0.5], density=[0.9, 0.6, 0.85], gamma=[0.1]),
    "dare-linear": dict(method="dare_linear", weight=[0.5, 0.5, 0.5], density=[0.5], seed=3),
    "dare-density": dict(method="dare_linear", weight=[0.3, 0.3, 0.3], density=[0.25], rescale="density", seed=-9),
    "dare-ties": dict(method="dare_ties", weight=[0.6, 0.6, 0.6], density=[0.53, 0.7, 0.9], seed=3, normalize=True),
    "mean": dict(method="task_arithmetic", weight=[1, 2, -0.5], normalize=True, factor=1.5),
    "sum": dict(method="linear", weight=[0.5, 0.9, 0.1]),
    "slerp": dict(method="slerp", t=0.3),
    "slerp-end": dict(method="slerp", t=1.0),
}
DEFAULTS = {  # trim, elected signs, normalize, rescale
    "ties": ("magnitude", True, True, None), "breadcrumbs": ("outliers", False, False, None),
    "breadcrumbs_ties": ("outliers", True, False, None), "dare_linear": ("random", False, False, "l1"),
    "dare_ties": ("random", True, False, "l1"), "task_arithmetic": (None, False, False, None),
}


def inputs():
    random = np.random.default_rng(20)
    shapes = {"layers.0.weight": (37, 29), "layers.0.bias": (17,), "layers.1.weight": (70, 300), "scale": (),
              "frozen": (41,), "coarse": (50, 30), "one_value": (1,), "equal": (64,), "signs": (33,)}
    tensors = {}
    for name, shape in shapes.items():
        base = random.standard_normal(shape).astype(np.float32)
        if name == "coarse":
            base = np.round(base * 8) / np.float32(8)
        tensors["base/" + name] = np.asarray(base, np.float32)
        for m, model in enumerate(MODELS):
            delta = (0.02 * random.standard_normal(shape) * np.exp(random.standard_normal(shape)))
            if name == "frozen":
                delta = delta * 0
            if name == "coarse":  # few magnitudes, and many zeros
                delta = random.integers(-3, 4, shape) / 16 * random.integers(0, 2, shape)
            if name == "equal":
                delta = np.where(random.integers(0, 2, shape) == 1, 0.25, -0.25)
            if name == "signs":  # two models that cancel each other
                delta = np.full(shape, [0.5, -0.5, 0][m])
            tensors[model + "/" + name] = np.asarray(base + delta, np.float32)
    return tensors


def mix64(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M64
    return x ^ x >> 31


def drawn(name, model, seed, count):
    fnv = 0xCBF29CE484222325
    for byte in name.encode():
        fnv = ((fnv ^ byte) * 0x100000001B3) & M64
    key = mix64(mix64(seed & M64) ^ ((mix64(fnv) + model * 0x9E3779B97F4A7C15) & M64))
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) + np.uint32(key & 0xFFFFFFFF)
        x = (x ^ x >> np.uint32(16)) * np.uint32(0x7FEB352D)
        x = (x ^ x >> np.uint32(15) ^ np.uint32(key >> 32)) * np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def mask(trim, delta, density, gamma, name, model, seed):
    flat = np.abs(delta).reshape(-1)
    n = flat.size
    keep = np.zeros(n, bool)
    if trim is None or density >= 1:
        keep[:] = True
    elif trim == "magnitude":
        keep[np.argsort(-flat, kind="stable")[:max(1, int(density * n))]] = True
    elif trim == "outliers":
        kept = max(1, int(density * n))
        top = min(int(gamma * n), n - kept)
        keep[np.argsort(flat, kind="stable")[n - kept - top:n - top]] = True
    else:
        keep = drawn(name, model, seed, n).astype(np.uint64) < np.uint64(int(density * 2**32 + 0.5))
    return keep.reshape(delta.shape)


def sparse(case, name, tensors):
    trim, elects, normalizes, rescale = DEFAULTS[case["method"]]
    normalizes = case.get("normalize", normalizes)
    rescale = case.get("rescale", rescale)
    base = tensors["base/" + name]
    terms, weights = [], []
    for m, model in enumerate(MODELS):
        delta = tensors[model + "/" + name] - base
        density = (case.get("density", [1]) * 3)[m] if len(case.get("density", [1])) == 1 else case["density"][m]
        keep = mask(trim, delta, density, case.get("gamma", [0])[0], name, m, case.get("seed", 0))
        kept = np.where(keep, delta, np.float32(0))
        if density < 1 and rescale == "density":
            kept = kept * np.float32(1 / density)
        if density < 1 and rescale == "l1":
            before, after = np.abs(delta.astype(np.float64)).sum(), np.abs(kept.astype(np.float64)).sum()
            if min(before, after) >= 1e-7:
                kept = kept * np.float32(before / after)
        weights.append(np.float32(case["weight"][m]))
        terms.append(kept * weights[-1])
    total = terms[0] * 0
    for term in terms:
        total = total + term
    if elects:
        sign = np.where(total >= 0, 1, -1)
        mixed, divisor = np.zeros_like(total), np.zeros_like(total)
        for term, weight in zip(terms, weights):
            chosen = np.sign(term) == sign
            mixed = mixed + np.where(chosen, term, np.float32(0))
            divisor = divisor + np.where(chosen, weight, np.float32(0))
        divisor = np.where(divisor == 0, np.float32(1), divisor)
    else:
        mixed, divisor = total, np.float32(0)
        for weight in weights:
            divisor = divisor + weight
        divisor = np.float32(1) if abs(divisor) < 1e-8 else divisor
    if normalizes:
        mixed = mixed / divisor
    return (base + mixed * np.float32(case.get("factor", 1))).astype(np.float32)


def slerp(t, a, b):
    x, y = a.astype(np.float64), b.astype(np.float64)
    nx, ny = np.linalg.norm(x), np.linalg.norm(y)
    dot = np.sum(x * y) / (nx if nx > 1e-8 else 1) / (ny if ny > 1e-8 else 1)
    if abs(dot) > 0.9995:
        return ((1 - t) * x + t * y).astype(np.float32)
    omega = np.arccos(dot)
    return ((np.sin((1 - t) * omega) * x + np.sin(t * omega) * y) / np.sin(omega)).astype(np.float32)


def merged(case, name, tensors):
    if case["method"] == "slerp":
        return slerp(case["t"], tensors["one/" + name], tensors["two/" + name])
    if case["method"] == "linear":
        return sum(w * tensors[m + "/" + name].astype(np.float64)
                   for w, m in zip(case["weight"], MODELS)).astype(np.float32)
    return sparse(case, name, tensors)


def check(mergekit, file):
    import torch
    sys.path.insert(0, mergekit)
    # Which of equal magnitudes torch keeps is left open, and differs between versions and processors.
    unstable_argsort, unstable_sort = torch.argsort, torch.sort
    torch.argsort = lambda x, **more: unstable_argsort(x, stable=True, **more)
    torch.sort = lambda x, **more: unstable_sort(x, stable=True, **more)
    from mergekit.sparsify import RescaleNorm, SparsificationMethod, sparsify
    source = open(mergekit + "/mergekit/merge_methods/generalized_task_arithmetic.py").read()
    from typing import Literal, Optional
    scope = dict(torch=torch, Literal=Literal, Optional=Optional)
    exec("def get_mask" + source.split("def get_mask")[1], scope)
    tensors = {k: torch.from_numpy(v) for k, v in load_file(file).items()}
    for label, case in CASES.items():
        if case["method"] not in DEFAULTS or case["method"].startswith("dare"):
            continue
        trim, elects, normalizes, rescale = DEFAULTS[case["method"]]
        method = {"magnitude": SparsificationMethod.magnitude,
                  "outliers": SparsificationMethod.magnitude_outliers, None: None}[trim]
        for name in [k[5:] for k in tensors if k.startswith("base/")]:
            base, deltas = tensors["base/" + name], []
            n = base.numel()
            d = case.get("density", [1])
            small = trim and any(int(x * n) < 1 for x in d)
            if small or (trim == "outliers" and any(min(int(case["gamma"][0] * n), n - int(x * n)) < 1 for x in d)):
                continue  # where mergekit stops, or keeps nothing
            for m, model in enumerate(MODELS):
                delta = tensors[model + "/" + name] - base
                if method:
                    more = dict(gamma=case["gamma"][0]) if trim == "outliers" else {}
                    norm = RescaleNorm.l1 if case.get("rescale", rescale) else None
                    delta = sparsify(delta, density=d[0] if len(d) == 1 else d[m], method=method, rescale_norm=norm, **more)
                deltas.append(delta)
            deltas = torch.stack(deltas)
            weights = torch.tensor(case["weight"], dtype=torch.float32)
            while weights.dim() < deltas.dim():
                weights = weights.unsqueeze(-1)
            weighted = deltas * weights
            if elects:
                chosen = scope["get_mask"](weighted, method="sum", mask_dtype=torch.int8)
                mixed, divisor = (weighted * chosen).sum(dim=0), (weights * chosen).sum(dim=0)
                divisor[divisor == 0] = 1
            else:
                mixed, divisor = weighted.sum(dim=0), weights.sum(dim=0)
                divisor[divisor.abs() < 1e-8] = 1
            if case.get("normalize", normalizes):
                mixed /= divisor
            if case.get("factor", 1) != 1:
                mixed *= case["factor"]
            theirs, ours = base + mixed, tensors[label + "/" + name]
            different = int((theirs != ours).sum())
            print(f"{label:17} {name:16} {n:6} elements, {different} different"
                  f", by at most {(theirs - ours).abs().max().item():.2e}")


if sys.argv[1] == "--check":
    check(*sys.argv[2:])
    sys.exit()
tensors = inputs()
for label, case in CASES.items():
    for name in [k[5:] for k in tensors if k.startswith("base/")]:
        tensors[label + "/" + name] = np.ascontiguousarray(merged(case, name, tensors))
save_file(tensors, sys.argv[1], metadata={"cases": json.dumps(CASES)})
