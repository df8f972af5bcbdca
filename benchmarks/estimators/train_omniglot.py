"""Trains small CLIP image towers on Omniglot, for `benchmarks/run estimators`.

    pip install -r benchmarks/peers/requirements.txt pillow safetensors
    python train_omniglot.py OMNIGLOT OUT [--steps N] [TASK ...]

OMNIGLOT holds images_background_small1.zip and images_background_small2.zip, from the folder
python/ of https://github.com/brendenlake/omniglot. OUT gets a CLIP model to start from, a folder
per task, and data.safetensors with TASK.pixel_values, TASK.labels and TASK.zeroshot_weights:
    benchmarks/run estimators OUT/latin OUT/clip OUT/data.safetensors#latin. 256 5
Tasks are the eight alphabets by name, latin10 (its first ten letters), and, of all alphabets and
their characters turned by 90 degrees, mix100, all242 and rot397.
"""

import argparse
import io
import pathlib
import zipfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, normalize
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel

SIDE = 28
DRAWERS = 20  # of each character; the last four are kept out of training


def alphabets(folder):
    """Characters [20, 28, 28] by alphabet, ink 1 on paper 0."""
    pictures = {}
    for name in ("images_background_small1.zip", "images_background_small2.zip"):
        with zipfile.ZipFile(folder / name) as archive:
            for entry in sorted(archive.namelist()):
                if entry.endswith(".png") and "MACOSX" not in entry:
                    *_, alphabet, character, _ = entry.split("/")
                    picture = Image.open(io.BytesIO(archive.read(entry))).convert("L")
                    ink = 1 - np.asarray(picture.resize((SIDE, SIDE), Image.BOX), np.float32) / 255
                    drawn = pictures.setdefault(alphabet.split("_(")[0].lower(), {})
                    drawn.setdefault(character, []).append(ink)
    # One alphabet is in both archives: twenty drawings of each character are enough.
    return {
        alphabet: [np.stack(drawings[:DRAWERS]) for drawings in characters.values()]
        for alphabet, characters in pictures.items()
    }


def tasks(folder):
    by_alphabet = alphabets(folder)
    everything = [c for characters in by_alphabet.values() for c in characters]
    turned = everything + [np.rot90(c, 1, axes=(1, 2)).copy() for c in everything]
    return by_alphabet | {
        "latin10": by_alphabet["latin"][:10],
        "mix100": turned[:100],
        "all242": turned[:242],
        "rot397": turned[:397],
    }


def pixels(ink, distort):
    ink = ink[:, None]
    if distort:
        maps = torch.eye(2, 3) + 0.08 * torch.randn(len(ink), 2, 3)
        ink = grid_sample(ink, affine_grid(maps, ink.shape, align_corners=False), align_corners=False)
    return (ink.repeat(1, 3, 1, 1) - 0.3) / 0.4


def train(clip, characters, steps, rate):
    classes = len(characters)
    ink = torch.tensor(np.concatenate(characters))
    labels = torch.arange(classes).repeat_interleave(DRAWERS)
    kept_out = torch.arange(len(labels)) % DRAWERS >= 16
    model = CLIPVisionModel(clip.config.vision_config)
    start = {k.removeprefix("vision_model."): v for k, v in clip.vision_model.state_dict().items()}
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in model.state_dict()) else ""
    model.load_state_dict({prefix + k: v for k, v in start.items()}, strict=False)
    projection = clip.visual_projection.weight.detach()
    head = normalize(torch.randn(classes, projection.shape[0]), dim=-1)

    def logits(x):
        features = model(pixel_values=x).pooler_output @ projection.T
        return clip.logit_scale.exp().item() * normalize(features, dim=-1) @ head.T

    rows = torch.nonzero(~kept_out)[:, 0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        some = rows[torch.randint(len(rows), (64,))]
        loss = cross_entropy(logits(pixels(ink[some], True)), labels[some])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        predicted = logits(pixels(ink[kept_out], False)).softmax(-1)
    accuracy = (predicted.argmax(-1) == labels[kept_out]).float().mean().item()
    confidence = predicted.max(-1).values.mean().item()
    return model, pixels(ink, False).contiguous(), labels, head.contiguous(), accuracy, confidence


def clip_model(width, mlp, projection, scale):
    config = CLIPConfig(
        projection_dim=projection,
        text_config=dict(
            vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=8, projection_dim=projection),
        vision_config=dict(
            hidden_size=width, intermediate_size=mlp, num_hidden_layers=3, num_attention_heads=4,
            image_size=SIDE, patch_size=7, num_channels=3, projection_dim=projection))
    clip = CLIPModel(config)
    clip.logit_scale.data.fill_(float(np.log(scale)))
    return clip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("omniglot", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, help="default: 600, and 3000 from 100 classes on")
    parser.add_argument("task", nargs="*")
    args = parser.parse_intermixed_args()
    torch.manual_seed(0)
    available = tasks(args.omniglot)
    wanted = args.task or list(available)
    small = clip_model(48, 192, 32, 50)
    large = clip_model(128, 384, 128, 30)  # a hundred classes do not fit into the small one
    small.save_pretrained(args.out / "clip")
    large.save_pretrained(args.out / "clip-large")
    data = {}
    for task in wanted:
        many = len(available[task]) >= 100
        steps = args.steps or (3000 if many else 600)
        model, x, labels, head, accuracy, confidence = train(
            large if many else small, available[task], steps, 1e-3 if many else 2e-3)
        print(f"{task}: {len(head)} classes, accuracy {accuracy:.3f}, confidence {confidence:.3f}")
        model.save_pretrained(args.out / task)
        data |= {
            f"{task}.pixel_values": x, f"{task}.labels": labels, f"{task}.zeroshot_weights": head}
    save_file(data, args.out / "data.safetensors")


if __name__ == "__main__":
    main()
