"""Writes golden/gpt2-odd: a GPT-2 classifier of odd sizes and its Fishers by float64 autograd.

    python gpt2_odd.py ../src/main/resources/golden/gpt2-odd

Made with torch 2.13, transformers 5.18. Attention scores are also divided by the layer's number, the MLP is of odd
width, texts of 1 to 19 tokens (all positions) repeat tokens, and five classes need four probes.
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2ForSequenceClassification

LENGTHS = [19, 7, 1, 12, 7, 3, 11]
PAD = 52

out = sys.argv[1]
torch.manual_seed(5)
config = GPT2Config(vocab_size=53, n_positions=19, n_embd=15, n_layer=3, n_head=3, n_inner=37, num_labels=5,
                    activation_function="gelu", scale_attn_by_inverse_layer_idx=True, layer_norm_epsilon=2e-5,
                    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, pad_token_id=PAD, bos_token_id=PAD,
                    eos_token_id=PAD)
config._attn_implementation = "eager"
model = GPT2ForSequenceClassification(config).eval()
with torch.no_grad():
    for name, p in model.named_parameters():
        p.copy_(torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.1) + (1.0 if "ln_" in name and "weight" in name else 0.0))
model.save_pretrained(out)
model = model.double()

ids = torch.full((len(LENGTHS), 19), PAD)
mask = torch.zeros_like(ids)
for b, n in enumerate(LENGTHS):
    ids[b, :n] = torch.randint(0, 9, (n,))  # nine words: tokens repeat
    mask[b, :n] = 1
labels = torch.tensor([b % 5 for b in range(len(LENGTHS))])
logits = model(input_ids=ids, attention_mask=mask).logits
p = logits.softmax(-1).detach()
backbone = {n: q for n, q in model.named_parameters() if n.startswith("transformer.")}


def gradients(value):
    return torch.autograd.grad(value, list(backbone.values()), retain_graph=True)


def fisher(parts):
    total = [torch.zeros_like(q) for q in backbone.values()]
    for weight, value in parts:
        for t, g in zip(total, gradients(value)):
            t += weight * g * g
    return {n: (t / len(LENGTHS)).float().contiguous() for n, t in zip(backbone, total)}


logp = logits.log_softmax(-1)
exact = fisher([(p[b, c], logp[b, c]) for b in range(len(LENGTHS)) for c in range(5)])
root = (p.sqrt() * logp).sum(-1)
batch = fisher([(1, root[first:first + 3].sum()) for first in range(0, len(LENGTHS), 3)])
tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": logits.detach().float().contiguous()}
tensors |= {"fisher.exact." + n: t for n, t in exact.items()}
tensors |= {"fisher.batch_square." + n: t for n, t in batch.items()}
save_file(tensors, os.path.join(out, "expected.safetensors"),
          {"batch_square_batch": "3", "examples": str(len(LENGTHS))})
print(p.max(-1).values)
