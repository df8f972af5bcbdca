"""Statistics of linear layers by hooks in PyTorch, for benchmarks/run rules --peers PYTHON to time.

Usage: rules_peers.py BATCH THREADS. Each line of standard input names a step, which then runs once
over the same BATCH examples and answers "done": plain, forward and backward as in training; gram,
a forward pass whose hooks add X^T X of every linear layer, as FusionBench's RegMean does; kronecker,
forward and backward of one drawn label an example whose hooks add X^T X and G^T G. An answer
"missing ..." in place of the first, "ready ...", says which package is not installed. All is
float32, on the CPU, in eval mode.
"""

import sys

from fisher_peers import B32, Peers, answer, torch, transformers


class Statistics(Peers):
    """The steps, on the model of the Fisher steps. Patches are left to the convolution."""

    def __init__(self, shape, batch):
        super().__init__(shape, batch)
        linear = [m for m in self.model.modules() if isinstance(m, torch.nn.Linear)]
        self.inputs = {m: torch.zeros(m.in_features, m.in_features) for m in linear}
        self.gradients = {m: torch.zeros(m.out_features, m.out_features) for m in linear}

    def add_input(self, layer, arguments):
        rows = arguments[0].detach().flatten(0, -2)
        self.inputs[layer].addmm_(rows.T, rows)

    def add_gradient(self, layer, _, gradients):
        rows = gradients[0].detach().flatten(0, -2)
        self.gradients[layer].addmm_(rows.T, rows)

    def gram(self):
        hooks = [layer.register_forward_pre_hook(self.add_input) for layer in self.inputs]
        with torch.no_grad():
            self.model(self.pixels)
        for hook in hooks:
            hook.remove()

    def kronecker(self):
        hooks = [layer.register_forward_pre_hook(self.add_input) for layer in self.inputs]
        hooks += [layer.register_full_backward_hook(self.add_gradient) for layer in self.inputs]
        log_p = self.model(self.pixels)
        drawn = torch.multinomial(log_p.detach().exp(), 1)
        log_p.gather(1, drawn).sum().backward()
        for parameter in self.parameters.values():
            parameter.grad = None
        for hook in hooks:
            hook.remove()

    def run(self, step):
        match step:
            case "gram":
                self.gram()
            case "kronecker":
                self.kronecker()
            case "plain":
                self.plain()
            case _:
                sys.exit(f"no step {step!r}; expected plain, gram or kronecker")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    batch, threads = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    peers = Statistics(B32, batch)
    answer(f"ready PyTorch {torch.__version__}, transformers {transformers.__version__}")
    for line in sys.stdin:
        peers.run(line.strip())
        answer("done")


if __name__ == "__main__":
    main()
