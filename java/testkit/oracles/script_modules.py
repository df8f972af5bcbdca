"""Writes small TorchScript modules for what a module's graph and answers may hide, into a folder.

    python script_modules.py ../../cli/src/test/resources/script-modules

Made with PyTorch 2.13. Inputs are x [N, 4, 6]; sound.pt is the only one to be taken, and clamped.pt with a warning.
"""
import os
import sys

import torch
from torch import nn

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
torch.manual_seed(5)


class Net(nn.Module):
    def __init__(self, body, head=None):
        super().__init__()
        self.body, self.score, self.head = body, nn.Linear(6, 3), head or nn.Identity()

    def forward(self, x):
        return self.head(self.score(self.body(x).mean(1)))


class Functional(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(torch.tanh(x), 0.2)  # training=True by default, whatever eval() says


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.01 * torch.randn(x.shape)


class Attention(nn.Module):
    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0.0)


x = torch.randn(3, 4, 6)
torch.jit.save(torch.jit.script(Net(Functional()).eval()), f"{out}/functional-dropout.pt")
torch.jit.save(torch.jit.trace(Net(Noise()).eval(), x, check_trace=False), f"{out}/noise.pt")
torch.jit.save(torch.jit.trace(Net(Attention()).train(), x, check_trace=False), f"{out}/attention-dropout.pt")
torch.jit.save(torch.jit.trace(Net(nn.BatchNorm1d(4, track_running_stats=False)).eval(), x), f"{out}/no-statistics.pt")
torch.jit.save(torch.jit.trace(Net(nn.Tanh(), nn.Softmax(1)).eval(), x), f"{out}/softmax.pt")
torch.jit.save(torch.jit.trace(Net(nn.Sequential(Attention(), nn.BatchNorm1d(4), nn.Dropout(0.3)),
                                   nn.LogSoftmax(1)).eval(), x), f"{out}/sound.pt")
torch.jit.save(torch.jit.trace(Net(nn.Tanh(), nn.Sigmoid()).eval(), x), f"{out}/sigmoid.pt")
torch.jit.save(torch.jit.trace(Net(nn.Tanh(), nn.Hardtanh(0.0, 1.0)).eval(), x), f"{out}/clamped.pt")
for name in sorted(os.listdir(out)):
    print(name, os.path.getsize(f"{out}/{name}"))

# Fisher information of score.bias, sum over examples of p (1 - p), for the inputs of ScriptCasesTest.
data = torch.sin(1.3 * torch.arange(1, 7 * 4 * 6 + 1, dtype=torch.float64)).reshape(7, 4, 6)
p = torch.jit.load(f"{out}/sound.pt").double()(data).exp()
print("score.bias:", ", ".join(f"{v:.7f}" for v in (p * (1 - p)).sum(0)))
