"""LoRA adapters as PEFT writes them, and what PEFT's merge_and_unload makes of them.

Usage: python lora.py FOLDER      (PEFT 0.21, transformers 5.18, torch 2.13; all seeded)

Writes bases, adapters, and for each adapter the tensors that merging changes (ADAPTER.merged.safetensors); for the
averages the means of PEFT's merged models in float64.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, GPT2Config, GPT2ForSequenceClassification

out = Path(sys.argv[1])


def clip(dtype=torch.float32):
    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=8,
            patch_size=4,
            projection_dim=8,
        )
    ).to(dtype)


def gpt2(dtype=torch.float32):
    return GPT2ForSequenceClassification(
        GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=12, num_labels=3, pad_token_id=0)
    ).to(dtype)


def base(name, make, dtype=torch.float32):
    torch.manual_seed(len(name))
    model = make(dtype)
    for p in model.parameters():
        p.data = torch.randn_like(p, dtype=torch.float32).mul(0.3).to(dtype)
    model.save_pretrained(out / name)


def adapter(base_name, name, model_class, seed, dtype=torch.float32, **settings):
    """Trains nothing: every number that training would change is drawn. Returns PEFT's merged state dict."""
    torch.manual_seed(seed)
    model = model_class.from_pretrained(out / base_name, dtype=dtype)
    peft = get_peft_model(model, LoraConfig(**settings))
    for n, p in peft.named_parameters():
        if p.requires_grad:
            p.data = torch.randn_like(p, dtype=torch.float32).mul(0.2).add(0.5 if "magnitude" in n else 0).to(p.dtype)
    peft.save_pretrained(out / name)
    (out / name / "README.md").unlink(missing_ok=True)
    config = json.loads((out / name / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_name
    (out / name / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True))
    # As a user loads it, not as it was made.
    fresh = model_class.from_pretrained(out / base_name, dtype=dtype)
    merged = PeftModel.from_pretrained(fresh, out / name).merge_and_unload().state_dict()
    before = model_class.from_pretrained(out / base_name, dtype=dtype).state_dict()
    changed = {k: v.contiguous() for k, v in merged.items() if not torch.equal(v, before[k])}
    save_file(changed, out / f"{name}.merged.safetensors")
    return merged


def mean(name, models):
    keys = models[0].keys()
    save_file(
        {k: (sum(m[k].double() for m in models) / len(models)).contiguous() for k in keys},
        out / f"{name}.safetensors",
    )


shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)

base("clip", clip)
torch.manual_seed(3)
tuned = CLIPVisionModel.from_pretrained(out / "clip")
for p in tuned.parameters():
    p.data += 0.1 * torch.randn_like(p)
tuned.save_pretrained(out / "clip-tuned")
patterns = adapter(
    "clip",
    "clip-patterns",
    CLIPVisionModel,
    10,
    r=4,
    lora_alpha=8,
    target_modules=["q_proj", "v_proj", "fc1", "fc2"],
    rank_pattern={"layers.1.self_attn.q_proj": 2, "^.*fc1": 5},
    alpha_pattern={r"layers\.\d+\.mlp\.fc2": 3, "v_proj": 1},
)
stabilised = adapter(
    "clip",
    "clip-rslora",
    CLIPVisionModel,
    11,
    r=5,
    lora_alpha=3,
    use_rslora=True,
    target_modules=r".*self_attn\.(k_proj|out_proj)",
    modules_to_save=["post_layernorm", "fc2"],
    bias="all",
)
mean("clip-mean", [patterns, stabilised, tuned.state_dict()])
adapter("clip", "clip-dora", CLIPVisionModel, 12, r=3, use_dora=True, target_modules=["q_proj", "fc1"])
adapter(
    "clip", "clip-conv", CLIPVisionModel, 13, r=2, target_modules=["patch_embedding", "position_embedding", "q_proj"]
)
adapter(
    "clip",
    "clip-layers",
    CLIPVisionModel,
    14,
    r=2,
    target_modules=["q_proj"],
    layers_to_transform=[1],
    lora_bias=True,
    bias="lora_only",
)

base("gpt2", gpt2)
first = adapter(
    "gpt2",
    "gpt2-seqcls",
    GPT2ForSequenceClassification,
    20,
    r=4,
    lora_alpha=16,
    task_type="SEQ_CLS",
    target_modules=["c_attn", "c_proj", "c_fc"],
    fan_in_fan_out=True,
)
second = adapter(
    "gpt2",
    "gpt2-embeddings",
    GPT2ForSequenceClassification,
    21,
    r=3,
    target_modules=["wte", "attn.c_proj"],
    modules_to_save=["score"],
)
mean("gpt2-mean", [first, second])
adapter(
    "gpt2",
    "gpt2-dora",
    GPT2ForSequenceClassification,
    22,
    r=2,
    use_dora=True,
    target_modules=["c_attn", "c_proj"],
    fan_in_fan_out=True,
    task_type="SEQ_CLS",
)

base("gpt2-bf16", gpt2, torch.bfloat16)
adapter(
    "gpt2-bf16",
    "gpt2-bf16-adapter",
    GPT2ForSequenceClassification,
    30,
    dtype=torch.bfloat16,
    r=4,
    target_modules=["c_attn", "c_proj"],
    task_type="SEQ_CLS",
)
