"""Data sets as save_to_disk of datasets writes them, for java/data's SavedDatasetsTest.

    python saved_datasets.py OUT

writes OUT/NAME, each a folder of save_to_disk, two Arrow files of their own, and OUT/expected.json with what
load_from_disk gives. Needs pyarrow 25, datasets 5, Pillow.
"""
import io
import json
import shutil
import sys
from pathlib import Path

import datasets
import pyarrow as pa
from PIL import Image

OUT = Path(sys.argv[1])
NAMES = ["cat", "dog", "big red bus"]
SENTENCES = ["the cat sleeps", "a dog", "", "häuser \U0001f600 im wald", "on the bus", "one more", "and the last"]
LABELS = [0, 2, 1, 2, -1, 1, 0]
expected = {}


def note(name, data, label="label"):
    feature = data.features[label]
    expected[name] = {"labels": list(data[label]), "names": getattr(feature, "names", None)}
    for column in ("sentence", "input_ids", "attention_mask", "token_type_ids"):
        if column in data.column_names:
            expected[name][column] = list(data[column])


def picture(size, colour):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return {"bytes": out.getvalue(), "path": None}


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)

classes = datasets.ClassLabel(names=NAMES)
texts = datasets.Dataset.from_dict(
    {"sentence": SENTENCES, "label": LABELS},
    features=datasets.Features({"sentence": datasets.Value("string"), "label": classes}))
both = datasets.DatasetDict({"train": texts, "validation": texts.select(range(2, 5))})
both.save_to_disk(OUT / "texts", num_shards={"train": 2, "validation": 1})
loaded = datasets.load_from_disk(OUT / "texts")
note("texts#train", loaded["train"])
note("texts#validation", loaded["validation"])

colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 99, 199)]
pictures = datasets.Dataset.from_dict(
    {"img": [picture((8, 8), c) for c in colours[:3]] + [None, picture((8, 8), colours[3])],
     "fine_label": [2, 0, 1, 1, 0]},
    features=datasets.Features({"img": datasets.Image(), "fine_label": classes}))
pictures.save_to_disk(OUT / "pictures")
loaded = datasets.load_from_disk(OUT / "pictures")
note("pictures", loaded, "fine_label")
expected["pictures"]["colours"] = [None if p is None else p.getpixel((3, 3)) for p in loaded["img"]]

tokens = datasets.Dataset.from_dict(
    {"sentence": ["one", "two", "three"], "input_ids": [[5, 6, 7, 0], [8, 0, 0, 0], [9, 9, 0, 1]],
     "attention_mask": [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], "token_type_ids": [[0, 0, 1, 0]] * 3,
     "labels": [1, 0, 1]},
    features=datasets.Features({
        "sentence": datasets.Value("string"), "input_ids": datasets.List(datasets.Value("int32")),
        "attention_mask": datasets.List(datasets.Value("int8")),
        "token_type_ids": datasets.LargeList(datasets.Value("int64")), "labels": datasets.Value("int64")}))
tokens.save_to_disk(OUT / "tokens")
note("tokens", datasets.load_from_disk(OUT / "tokens"), "labels")

odd = datasets.Dataset.from_dict(
    {"input_ids": [[5, 6], None, [7], [8, None], [9, 9, 9]], "attention_mask": [[1, 1], [1], [1, 1], [1, 1], [1, 1, 0]],
     "label": [0, 1, 0, 1, 0]},
    features=datasets.Features({
        "input_ids": datasets.List(datasets.Value("int64")), "attention_mask": datasets.List(datasets.Value("uint8")),
        "label": datasets.Value("int64")}))
odd.save_to_disk(OUT / "odd-tokens")

types = {"sentence": (SENTENCES[:4], pa.large_string())}
for kind in ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"]:
    types[kind] = ([0, 3, None, 1], getattr(pa, kind)())
for kind in ["float16", "float32", "float64"]:
    types[kind] = ([0.0, 3.0, None, 1.0], getattr(pa, kind)())
types["bool"] = ([True, None, False, True], pa.bool_())
types["string"] = (["red", "blue", None, "red"], pa.string())
types["null"] = ([None] * 4, pa.null())
types["binary"] = ([b"x", b"y", b"x", None], pa.large_binary())
types["timestamp"] = ([1, 2, 3, 4], pa.timestamp("s"))
types["list"] = ([[1], [2], None, [3]], pa.list_(pa.int64()))
types["decimal"] = ([1, 2, 3, None], pa.decimal128(9))
table = pa.table({name: pa.array(values, kind) for name, (values, kind) in types.items()})
datasets.Dataset(table).save_to_disk(OUT / "types")
for name in list(types)[1:-3]:
    expected["types." + name] = {
        "labels": [v.decode() if isinstance(v, bytes) else v for v in datasets.load_from_disk(OUT / "types")[name]]}

formatted = texts.with_format("numpy", columns=["sentence"])
formatted.save_to_disk(OUT / "formatted")

plain = pa.table({"sentence": SENTENCES, "label": LABELS})
with pa.OSFile(str(OUT / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, plain.schema) as writer:
    writer.write_table(plain, max_chunksize=3)
with pa.OSFile(str(OUT / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, plain.schema) as writer:
    writer.write_table(plain, max_chunksize=2)
with pa.OSFile(str(OUT / "compressed.arrow"), "wb") as sink:
    with pa.ipc.new_stream(sink, plain.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(plain)
for name in ("stream", "file"):
    note(name + ".arrow", datasets.Dataset(plain))

(OUT / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
