"""Picture settings as people have them, and the tensors that transformers makes by them.

    python picture_settings.py OUT_FOLDER

writes picture-settings.safetensors.gz. For each case, "NAME case" is JSON (U8): the files of a model's
folder, the name of the picture, and the size that the model takes; "NAME pixels" is what
AutoImageProcessor.from_pretrained(folder, backend="pil") makes of the picture after
datasets.Image().decode_example, F32 [3, height, width]. Where one of them refuses, there is none.
Pictures are under "picture NAME".
Made with transformers 5.18, pillow 12.3, datasets 5.0.1; seeded.
"""

import gzip
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import Image as ImageFeature
from safetensors.numpy import save
from transformers import AutoImageProcessor

from pictures import exif, image, palette, saved

CLIP = {
    "crop_size": {"height": 12, "width": 12}, "do_center_crop": True, "do_convert_rgb": True,
    "do_normalize": True, "do_rescale": True, "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 12},
}
OPENAI = {
    "crop_size": 12, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": CLIP["image_mean"],
    "image_std": CLIP["image_std"], "resample": 3, "size": 12,
}
SMALL = {"size": {"height": 12, "width": 12}}
PICTURES = {
    "wide": saved(image("RGB", 37, 22), "PNG"),
    "tall": saved(image("RGB", 19, 41), "PNG"),
    "small": saved(image("RGB", 7, 9), "PNG"),
    "square": saved(image("RGB", 12, 12), "PNG"),
    "grey": saved(image("L", 30, 21), "PNG"),
    "palette": saved(palette(30, 21), "PNG"),
    "alpha": saved(image("RGBA", 30, 21), "PNG"),
    "turned": saved(image("RGB", 30, 21), "JPEG", exif=exif(6)[6:]),
    "cmyk": saved(image("CMYK", 30, 21), "JPEG"),
}
CASES = {}


def case(name, picture="wide", takes=12, processor=None, settings=None, config=None, **changes):
    """Settings of CLIP with changes; None takes a key away, "null" makes it null."""
    files = {"config.json": {"model_type": "clip"} if config is None else config}
    if settings is None and processor is None:
        settings = dict(CLIP)
        for key, value in changes.items():
            if value is None:
                del settings[key]
            else:
                settings[key] = None if value == "null" else value
    if settings is not None:
        files["preprocessor_config.json"] = settings
    if processor is not None:
        files["processor_config.json"] = processor
    CASES[name] = {"files": files, "picture": picture, "size": takes}


def cases():
    for picture in PICTURES:
        case(f"clip {picture}", picture)
    case("openai", settings=OPENAI)
    for resample in range(6):
        case(f"resample {resample}", resample=resample)
        case(f"resample {resample} enlarged", "small", resample=resample)
        case(f"resample {resample} tall", "tall", resample=resample, size=[9, 15], do_center_crop=False)
    case("resample absent", resample=None)
    case("resample null", resample="null")
    case("resample 6", resample=6)

    case("size number", size=12)
    case("size list", size=[12, 10])
    case("size height and width", size={"height": 11, "width": 14})
    case("size longest", size={"shortest_edge": 12, "longest_edge": 15})
    case("size longest tall", "tall", size={"shortest_edge": 12, "longest_edge": 17}, do_center_crop=True)
    case("size longest not reached", size={"shortest_edge": 12, "longest_edge": 100})
    case("size longest null", size={"shortest_edge": 12, "longest_edge": None})
    case("size maximum", size={"max_height": 12, "max_width": 12})
    case("size maximum tall", "tall", size={"max_height": 30, "max_width": 9})
    case("size longest only", size={"longest_edge": 12})
    case("size pixels", size={"min_pixels": 12, "max_pixels": 400})
    case("size null", size="null", crop_size=12)
    case("size unknown key", size={"edge": 12})
    case("size null width", size={"height": 12, "width": None})
    case("size zero", size=0)
    case("size text", size="12")
    case("size number as square", size=12, default_to_square=True)
    case("size absent", size=None)
    case("square size", "wide", use_square_size=True, crop_size=12)

    case("crop number", crop_size=10)
    case("crop list", crop_size=[10, 13])
    case("crop larger", "small", do_resize=False, crop_size={"height": 14, "width": 11})
    case("crop larger one way", "small", do_resize=False, crop_size={"height": 6, "width": 12})
    case("crop shortest edge", crop_size={"shortest_edge": 12})
    case("crop null", "wide", 224, crop_size="null")
    case("no crop exact", size={"height": 12, "width": 12}, do_center_crop=False)
    case("no crop no resize", "square", do_center_crop=False, do_resize=False)
    case("no resize", do_resize=False)
    case("no rescale", do_rescale=False)
    case("no normalize", do_normalize=False)
    case("neither", do_rescale=False, do_normalize=False)
    case("rescale factor", rescale_factor=1 / 127.5)
    case("rescale factor null", rescale_factor="null")
    case("flags as numbers", do_center_crop=0, do_resize=1, size=[12, 12])
    case("flags null", "square", do_center_crop="null", do_resize="null", do_rescale="null", do_normalize="null", do_convert_rgb="null")
    case("mean number", image_mean=0.5, image_std=0.25)
    case("mean null", image_mean="null", image_std="null")
    case("mean absent", image_mean=None, image_std=None)
    case("mean of one", image_mean=[0.5], image_std=[0.5])
    case("mean half", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    case("pad", "small", do_resize=False, do_center_crop=False, do_pad=True, pad_size={"height": 12, "width": 12})
    case("pad number", "small", do_resize=False, do_center_crop=False, do_pad=True, pad_size=12)
    case("pad too small", do_resize=False, do_center_crop=False, do_pad=True, pad_size={"height": 12, "width": 12})
    case("pad alone", do_pad=True)
    case("pad after the crop", do_pad=True, crop_size=10, pad_size=[12, 13])
    case("unknown keys", foo=1, crop_pct=0.5, rescale_offset=True)
    case("ignored keys", data_format="channels_last", device="cpu", return_tensors="np", processor_class="CLIPProcessor")
    case("input channels last", input_data_format="channels_last")

    for kind in ("grey", "palette", "alpha", "cmyk", "turned"):
        case(f"no conversion {kind}", kind, do_convert_rgb=False)
    case("no conversion rgb", do_convert_rgb=False)

    small = {"crop_size": 12, "size": {"shortest_edge": 12}}
    for kind in ("CLIP", "Bit", "ChineseCLIP", "MobileNetV1"):
        case(f"type {kind}", settings={"image_processor_type": f"{kind}ImageProcessor", **small})
    for kind in ("Siglip", "ViT", "Blip", "Pvt"):
        case(f"type {kind}", settings={"image_processor_type": f"{kind}ImageProcessor", **SMALL})
    case("type DeiT", settings={"image_processor_type": "DeiTImageProcessor", "crop_size": 12, **SMALL})
    case("type fast", settings={"image_processor_type": "ViTImageProcessorFast", **SMALL})
    case("type pil", settings={"image_processor_type": "ViTImageProcessorPil", **SMALL})
    case("type older", settings={"feature_extractor_type": "ViTFeatureExtractor", **SMALL})
    case("type both", settings={"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "ViTImageProcessor", **SMALL})
    case("type none", settings=small)
    case("type unknown", settings={"image_processor_type": "FooImageProcessor", **small})
    case("type in the model", settings=dict(SMALL), config={"model_type": "clip", "image_processor_type": "SiglipImageProcessor"})
    case("type own code", settings={"auto_map": {"AutoImageProcessor": "code.Foo"}, "feature_extractor_type": "ViTFeatureExtractor", **small})
    case("vit number", settings={"image_processor_type": "ViTImageProcessor", "size": 12})
    case("siglip number", "square", settings={"image_processor_type": "SiglipImageProcessor", "size": 12})
    case("vit crop without size", settings={"image_processor_type": "ViTImageProcessor", "do_center_crop": True, **SMALL})
    case("vit grey", "grey", settings={"image_processor_type": "ViTImageProcessor", **SMALL})

    half = {**CLIP, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    case("processor nested", processor={"image_processor": half, "processor_class": "CLIPProcessor"})
    case("processor before preprocessor", processor={"image_processor": half}, settings=CLIP)
    case("processor of old kind", processor={"processor_class": "CLIPProcessor"}, settings=half)
    case("processor null", processor={"image_processor": None}, settings=half)


def reference(files, picture):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_text(json.dumps(content))
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        decoded = ImageFeature().decode_example({"path": None, "bytes": picture})
        pixels = np.asarray(processor(images=[decoded], return_tensors="np")["pixel_values"][0])
        assert pixels.shape[0] == 3, f"{pixels.shape[0]} channels"
        return np.ascontiguousarray(pixels, np.float32)


def main(folder):
    cases()
    tensors = {f"picture {name}": np.frombuffer(data, np.uint8) for name, data in PICTURES.items()}
    for name, described in CASES.items():
        text = json.dumps(described, separators=(",", ":")).encode()
        tensors[f"{name} case"] = np.frombuffer(text, np.uint8)
        try:
            pixels = reference(described["files"], PICTURES[described["picture"]])
        except Exception as refusal:
            print(f"refused: {name}: {type(refusal).__name__}: {str(refusal)[:100]}")
            continue
        if pixels.size > 20_000:
            pixels = pixels[:, ::16, ::16].copy()  # a sample of what is large
        tensors[f"{name} pixels"] = pixels
    data = gzip.compress(save(tensors), 9, mtime=0)
    Path(folder, "picture-settings.safetensors.gz").write_bytes(data)
    print(len(CASES), "cases", sum(t.nbytes for t in tensors.values()), "bytes")


if __name__ == "__main__":
    main(sys.argv[1])
