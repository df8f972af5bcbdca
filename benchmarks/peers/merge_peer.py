"""FusionBench's merging formula in PyTorch, for benchmarks/run merge --peers PYTHON to time.

Usage: merge_peer.py MODELS TENSORS SIZE THREADS. The models hold TENSORS matrices of SIZE by SIZE
random float32 values, and so do their Fishers. Each line of standard input makes it merge them once
and answer "done". An answer "missing ..." in place of the first, "ready ...", says which package is
not installed.
"""

import sys

answers = sys.stdout
sys.stdout = sys.stderr  # what libraries print must not come between the answers


def answer(text):
    print(text, file=answers, flush=True)


try:
    import torch
except ImportError as error:
    answer(f"missing {error}")
    sys.exit(1)

MINIMAL_FISHER = 1e-6


def norms(fishers):
    """The L2 norm of each model's Fisher: of its tensors first, then of those norms."""
    by_tensor = []
    for name in fishers[0]:
        stacked = torch.stack([fisher[name] for fisher in fishers])
        by_tensor.append(torch.linalg.vector_norm(stacked, dim=list(range(1, stacked.dim()))))
    return torch.norm(torch.stack(by_tensor, dim=1), dim=1)


def merge(models, fishers):
    """As FusionBench's merging_with_fisher_weights computes it, normalised, tensor by tensor."""
    inverse = 1 / (norms(fishers) + MINIMAL_FISHER)
    weights = torch.full((len(models),), 1 / len(models)) * (inverse / inverse.sum())
    merged = {}
    for name in models[0]:
        values = torch.stack([model[name] for model in models])
        fisher = torch.stack([one[name] for one in fishers]) + MINIMAL_FISHER
        scale = weights.reshape(-1, *[1] * (values.dim() - 1))
        merged[name] = (scale * fisher * values).sum(0) / (scale * fisher).sum(0)
    return merged


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    models, tensors, size, threads = (int(argument) for argument in sys.argv[1:])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    names = [f"layer{i}.weight" for i in range(tensors)]
    pool = [{name: torch.rand(size, size) - 0.5 for name in names} for _ in range(models)]
    fishers = [{name: 1e-4 * torch.rand(size, size) ** 4 for name in names} for _ in range(models)]
    answer(f"ready PyTorch {torch.__version__}")
    for _ in sys.stdin:
        merge(pool, fishers)
        answer("done")


if __name__ == "__main__":
    main()
