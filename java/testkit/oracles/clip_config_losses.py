"""Losses of a tiny CLIP under several spellings of its config.json, by transformers in float64.

python clip_config_losses.py java/cli/src/test/cases/case-10 > java/cli/src/test/resources/org/fishermerge/cli/clip-config-losses.json
"""

import json
import pathlib
import shutil
import sys
import tempfile

import datasets
import torch
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel

case = pathlib.Path(sys.argv[1])
clip = json.loads((case / "clip/config.json").read_text())
legacy = json.loads((case / "legacy/config.json").read_text())


def changed(config, **groups):
    config = json.loads(json.dumps(config))
    for group, values in groups.items():
        if values is None:
            del config[group]
        else:
            config[group] = config.get(group, {}) | values
    return config


def without(config, group, key):
    config = json.loads(json.dumps(config))
    del config[group][key]
    return config


plain = changed(clip, vision_config_dict=None)
CONFIGS = {
    "case 10, clip": clip,
    "case 10, legacy": legacy,
    "the default of what the dict leaves out counts": without(
        changed(clip, vision_config={"hidden_act": "gelu"}), "vision_config_dict", "hidden_act"
    ),
    "a layer norm's epsilon of the dict": changed(plain, vision_config_dict=clip["vision_config"] | {"layer_norm_eps": 0.1}),
    "another name of the tanh GELU": changed(plain, vision_config={"hidden_act": "gelu_fast"}),
    "ReLU": changed(plain, vision_config={"hidden_act": "relu"}),
    "SiLU under its other name": changed(plain, vision_config={"hidden_act": "swish"}),
    "twelve heads in the group of the dict": changed(legacy, vision_config_dict={"num_attention_heads": 12}),
}

pictures = datasets.load_dataset("parquet", data_files=str(case / "pics.parquet"), split="train")
pictures = pictures.cast_column("image", datasets.Image())
labels = torch.tensor([int(row["label"]) for row in pictures])
processor = CLIPImageProcessor.from_pretrained(case / "clip")
pixels = processor([row["image"].convert("RGB") for row in pictures], return_tensors="pt")["pixel_values"].double()
head = load_file(case / "head.safetensors")["zeroshot_weights"].double()

out = []
for name, config in CONFIGS.items():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(case / "clip/model.safetensors", folder)
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        model = CLIPModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    with torch.no_grad():
        pooled = model.vision_model(pixel_values=pixels).pooler_output
        features = torch.nn.functional.normalize(model.visual_projection(pooled), dim=-1)
        logits = model.logit_scale.exp() * features @ head.T
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
    out.append({"name": name, "config": config, "loss": loss})
print(json.dumps(out, indent=1))
