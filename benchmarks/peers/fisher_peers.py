"""Fisher steps in PyTorch, for benchmarks/run fisher --peers PYTHON to time beside its own.

Usage: fisher_peers.py BATCH THREADS. Each line of standard input names a step, which then runs once
over the same BATCH examples and answers "done"; the caller holds the watch, so that every piece of
work takes its turn in the same rounds. An answer "missing ..." in place of the first, "ready ...",
says which package is not installed. All is float32, on the CPU, in eval mode.
"""

import sys

answers = sys.stdout
sys.stdout = sys.stderr  # what libraries print must not come between the answers


def answer(text):
    print(text, file=answers, flush=True)


try:
    import torch
    import transformers
except ImportError as error:
    answer(f"missing {error}")
    sys.exit(1)

B32 = dict(
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    image_size=224,
    patch_size=32,
    projection_dim=512,
)
CLASSES = 10
LOGIT_SCALE = 5.0


class Classifier(torch.nn.Module):
    """transformers' CLIP image tower of random weights under a frozen zero-shot head."""

    def __init__(self, shape):
        super().__init__()
        # vmap has no batching rule for the fused attention; on 50 tokens neither is faster.
        self.tower = transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(**shape, attn_implementation="eager")
        )
        width, features = shape["projection_dim"], shape["hidden_size"]
        self.register_buffer("projection", torch.randn(width, features) / features**0.5)
        rows = torch.randn(CLASSES, width)
        self.register_buffer("rows", rows / rows.norm(dim=-1, keepdim=True))

    def forward(self, pixels):
        """log p of each class, [B, classes], of pixels [B, 3, H, W]."""
        features = self.tower(pixel_values=pixels).pooler_output @ self.projection.T
        unit = features / features.norm(dim=-1, keepdim=True)
        return torch.log_softmax(LOGIT_SCALE * unit @ self.rows.T, dim=-1)


class Peers:
    """The steps. Those of a Fisher information add theirs to `fisher`, by parameter name."""

    def __init__(self, shape, batch):
        torch.manual_seed(1)
        self.model = Classifier(shape).eval()
        self.parameters = dict(self.model.named_parameters())
        self.fisher = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.pixels = torch.randn(batch, 3, shape["image_size"], shape["image_size"])
        self.labels = torch.arange(batch) % CLASSES

    def vmap(self, chunk):
        """Per-sample gradients of log p(label) by vmap(grad), `chunk` examples at once."""
        constants = {name: p.detach() for name, p in self.parameters.items()}

        def log_likelihood(parameters, pixels, label):
            log_p = torch.func.functional_call(self.model, parameters, (pixels.unsqueeze(0),))
            return log_p.squeeze(0).gather(0, label.unsqueeze(0)).squeeze(0)

        gradients_of = torch.func.vmap(torch.func.grad(log_likelihood), in_dims=(None, 0, 0))
        for pixels, labels in zip(self.pixels.split(chunk), self.labels.split(chunk)):
            gradients = gradients_of(constants, pixels, labels)
            for name, gradient in gradients.items():
                self.fisher[name] += gradient.square_().sum(0)

    def fusionbench(self):
        """FusionBench's formula: the square of one gradient, that of the whole batch's
        sum of sqrt(p) log p over examples and classes, p held constant under the root."""
        log_p = self.model(self.pixels)
        (log_p.detach().exp().sqrt() * log_p).sum().backward()
        for name, parameter in self.parameters.items():
            self.fisher[name].addcmul_(parameter.grad, parameter.grad)
            parameter.grad = None

    def plain(self):
        """Forward and backward of the mean cross-entropy, as in training."""
        torch.nn.functional.nll_loss(self.model(self.pixels), self.labels).backward()
        for parameter in self.parameters.values():
            parameter.grad = None

    def run(self, step):
        match step.split():
            case ["vmap", chunk]:
                self.vmap(int(chunk))
            case ["fusionbench"]:
                self.fusionbench()
            case ["plain"]:
                self.plain()
            case _:
                sys.exit(f"no step {step!r}; expected vmap CHUNK, fusionbench or plain")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    batch, threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    peers = Peers(B32, batch)
    answer(f"ready PyTorch {torch.__version__}, transformers {transformers.__version__}")
    for line in sys.stdin:
        peers.run(line.strip())
        answer("done")


if __name__ == "__main__":
    main()
