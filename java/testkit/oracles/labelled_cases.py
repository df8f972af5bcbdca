"""Accuracy and loss of the inputs in java/cli/src/test/cases/case-08, -16 and -20 in float64.

    python labelled_cases.py CASES FULL

CASES is java/cli/src/test/cases, FULL golden/clip-tiny/pretrained of java/testkit, unpacked. Prints what TablesCommandsTest
expects: labels are mapped by name, as run_glue.py of transformers does it. Needs torch 2.13, transformers 5.18,
datasets 5.
"""
import json
import sys
import tempfile
from pathlib import Path

import datasets
import torch
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, GPT2ForSequenceClassification, GPT2Tokenizer

CASES, FULL = Path(sys.argv[1]), Path(sys.argv[2])
CACHE = tempfile.mkdtemp()


def table(file):
    data = datasets.Dataset.from_parquet(str(CASES / file), cache_dir=CACHE)
    return data.cast_column("image", datasets.Image()) if "image" in data.column_names else data


def score(name, logits, labels):
    labels = torch.tensor(labels)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    print(f"{name}: {int((logits.argmax(1) == labels).sum())} of {len(labels)}, loss {loss:.9f}")


def by_name(data, classes):
    plain = [name.lower() for name in classes]
    return [plain.index(data.features["label"].names[label].lower()) for label in data["label"]]


def clip_logits(folder, data, rows):
    model = CLIPModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    pixels = CLIPImageProcessor.from_pretrained(folder)(
        [image.convert("RGB") for image in data["image"]], return_tensors="pt").pixel_values
    with torch.no_grad():
        pooled = model.vision_model(pixels.double()).pooler_output
        features = model.visual_projection(pooled)
        features = features / features.norm(dim=-1, keepdim=True)
        return model.logit_scale.exp() * features @ rows.double().T


def classes(folder, names, templates):
    model = CLIPModel.from_pretrained(folder, attn_implementation="eager").double().eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    rows = []
    with torch.no_grad():
        for name in names:
            tokens = tokenizer([t.format(name) for t in templates], return_tensors="pt", padding=True)
            of = model.text_projection(model.text_model(**tokens).pooler_output)
            of = of / of.norm(dim=-1, keepdim=True)
            mean = of.mean(0)
            rows.append(mean / mean.norm())
    return torch.stack(rows)


def gpt2(folder, texts):
    model = GPT2ForSequenceClassification.from_pretrained(folder, attn_implementation="eager").double().eval()
    tokenizer = GPT2Tokenizer.from_pretrained(folder)
    with torch.no_grad():
        return torch.cat([model(torch.tensor([tokenizer(text).input_ids])).logits for text in texts])


full = FULL
prompts = json.loads((CASES / "case-08/classes.json").read_text())
names = prompts["classnames"]["t"]
data = table("case-08/permuted.parquet")
score("case-08 permuted", clip_logits(full, data, classes(full, names, prompts["templates"])), by_name(data, names))
data = table("case-08/mnli.parquet")
config = json.loads((CASES / "case-08/gpt2/config.json").read_text())
names = [config["id2label"][str(k)] for k in range(3)]
texts = [a + b for a, b in zip(data["premise"], data["hypothesis"])]
score("case-08 mnli", gpt2(CASES / "case-08/gpt2", texts), by_name(data, names))
for codec in ["lz4", "brotli"]:
    data = table(f"case-16/{codec}.parquet")
    head = load_file(CASES / "case-16/head.safetensors")["zeroshot_weights"]
    score("case-16 " + codec, clip_logits(CASES / "case-16/clip", data, head), data["label"])
data = table("case-20/qqp/train-00000-of-00001.parquet").filter(lambda row: row["sentence"])
score("case-20 qqp", gpt2(CASES / "case-20/gpt2", data["sentence"]), data["label"])
