"""Writes golden/{bert,roberta}-tiny/pad_ids.safetensors: texts that hold the pad token's id among their own tokens.

    python pad_ids.py ../src/main/resources/golden

Made with torch 2.13, transformers 5.18. The texts of "masked." have an attention mask, which shows some pad ids at
their ends and inside; those of "plain." have none, and end with another token. Logits are of transformers in fp32,
Fishers (mean over the texts, labels averaged exactly, of the embeddings' tables) of its float64 autograd.
"""
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification

TOKENS = 14
TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


def texts(pad, generator):
    """Rows of ids, and how many of each the mask shows."""
    ids = torch.randint(3, 60, (6, TOKENS), generator=generator)
    ids[:, 0] = 2
    shown = torch.tensor([14, 11, 9, 14, 5, 12])
    ids[0, -3:] = pad  # shown, at the end
    ids[1, [3, 4, 7]] = pad  # inside
    ids[2, 6:9] = pad  # shown at the end, followed by hidden ones
    ids[4, [1, 4]] = pad
    for b, n in enumerate(shown):
        ids[b, n:] = pad
    return ids, (torch.arange(TOKENS) < shown[:, None]).long()


for family in ("bert", "roberta"):
    folder = os.path.join(sys.argv[1], family + "-tiny")
    model = AutoModelForSequenceClassification.from_pretrained(os.path.join(folder, "two"), attn_implementation="eager")
    model = model.float().eval()
    pad = model.config.pad_token_id
    ids, mask = texts(pad, torch.Generator().manual_seed(7))
    plain = ids.clone()
    plain[:, -1] = 7
    labels = torch.arange(len(ids)) % 2
    tensors = {"masked.labels": labels, "plain.labels": labels.clone(), "masked.input_ids": ids, "masked.attention_mask": mask, "plain.input_ids": plain}
    for kind, arguments in (("masked", {"input_ids": ids, "attention_mask": mask}),
                            ("plain", {"input_ids": plain, "attention_mask": torch.ones_like(plain)})):
        model.float()
        with torch.no_grad():
            tensors[kind + ".logits"] = model(**arguments).logits.contiguous()
        model.double()
        tables = {n: p for n, p in model.named_parameters() if any(t in n for t in TABLES)}
        logp = model(**arguments).logits.log_softmax(-1)
        total = {n: torch.zeros_like(p) for n, p in tables.items()}
        for b in range(len(ids)):
            for c in range(logp.shape[1]):
                gradients = torch.autograd.grad(logp[b, c], list(tables.values()), retain_graph=True)
                for n, g in zip(tables, gradients):
                    total[n] += logp[b, c].exp().detach() * g * g
        for n, t in total.items():
            tensors[kind + ".fisher." + n] = (t / len(ids)).float().contiguous()
    save_file(tensors, os.path.join(folder, "pad_ids.safetensors"))
    print(family, tensors["masked.logits"].tolist(), tensors["plain.logits"].tolist())
