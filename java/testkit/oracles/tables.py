"""Tables as pyarrow and datasets write them, for java/data's ParquetTablesTest.

    python tables.py OUT

writes OUT/*.parquet, all with the same 40 sentences and labels under other codecs, encodings and
types, and OUT/expected.json with what datasets reads back from each. Needs pyarrow 25 and datasets 5.
"""
import json
import random
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(sys.argv[1])
ROWS = 40
rng = random.Random(17)
WORDS = "the a cat dog bus red big small runs sleeps in on under house".split()
SENTENCES = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(ROWS)]
LABELS = [rng.randint(0, 2) for _ in range(ROWS)]
NAMES = ["cat", "dog", "big red bus"]
expected = {}


def read(name):
    """What datasets makes of a file: labels as it gives them, null for none, and class names."""
    data = datasets.Dataset.from_parquet(str(OUT / (name + ".parquet")), cache_dir=str(OUT / ".cache"))
    column = "label" if "label" in data.column_names else "labels"
    feature = data.features[column]
    labels = [None if v is None or v != v else v for v in data[column][:]]
    assert data["sentence"][:] == SENTENCES
    expected[name] = {"labels": labels, "names": getattr(feature, "names", None)}


def table(labels, column="label", sentences=None):
    return pa.table({"sentence": pa.array(SENTENCES) if sentences is None else sentences, column: labels})


def write(name, data, **options):
    pq.write_table(data, OUT / (name + ".parquet"), **options)
    read(name)


OUT.mkdir(parents=True, exist_ok=True)
plain = table(pa.array(LABELS, pa.int64()))
for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    write("codec-" + codec, plain, compression=codec)
    write("pages-" + codec, plain, compression=codec, data_page_version="2.0", data_page_size=256,
          write_batch_size=8, use_dictionary=False, write_page_index=True, write_page_checksum=True)
write("encoding-delta", plain, use_dictionary=False, compression="zstd",
      column_encoding={"sentence": "DELTA_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED"})
write("encoding-delta-length", plain, use_dictionary=False,
      column_encoding={"sentence": "DELTA_LENGTH_BYTE_ARRAY", "label": "BYTE_STREAM_SPLIT"})
for kind in ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"]:
    write("label-" + kind, table(pa.array(LABELS, getattr(pa, kind)())))
write("label-bool", table(pa.array([label == 1 for label in LABELS])))
write("label-double", table(pa.array([float(label) for label in LABELS])))
write("label-float", table(pa.array([float(label) for label in LABELS], pa.float32()),),
      use_dictionary=False, column_encoding={"label": "BYTE_STREAM_SPLIT", "sentence": "PLAIN"})
write("label-nulls", table(pa.array([None if i % 9 == 4 else label for i, label in enumerate(LABELS)], pa.int16())))
write("label-nan", table(pa.array([float("nan") if i % 9 == 4 else label for i, label in enumerate(LABELS)])))
write("label-string", table(pa.array([NAMES[label] for label in LABELS])))
write("label-large-string", table(pa.array([NAMES[label] for label in LABELS], pa.large_string()),
                                  sentences=pa.array(SENTENCES, pa.large_string())))
write("label-string-view", table(pa.array([NAMES[label] for label in LABELS], pa.string_view()),
                                 sentences=pa.array(SENTENCES, pa.string_view())))
write("label-categorical", table(pa.array([NAMES[label] for label in LABELS]).dictionary_encode()))
write("label-digits", table(pa.array([str(label) for label in LABELS])))
write("labels", table(pa.array(LABELS), column="labels"))
features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})
datasets.Dataset.from_dict({"sentence": SENTENCES, "label": LABELS}, features=features).to_parquet(
    str(OUT / "class-label.parquet"))
read("class-label")
(OUT / "expected.json").write_text(
    json.dumps({"sentences": SENTENCES, "tables": expected}, indent=1) + "\n")
import shutil
shutil.rmtree(OUT / ".cache")
