"""Class names in data set cards, as datasets reads them, for java/data's CardClassesTest.

    python card_classes.py OUT.json

Each case is a README.md beside a Parquet file without class names, and what load_dataset makes of its label. Needs
datasets 5.
"""
import json
import sys
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = """    dtype:
      class_label:
        names:
          '0': cat
          '1': dog
          '2': big red bus
"""
SENTENCE = "  - name: sentence\n    dtype: string\n"
LABEL = "  - name: label\n" + NAMES
CASES = {
    "one": (None, "dataset_info:\n  features:\n" + SENTENCE + LABEL),
    "other order of keys": (None, "dataset_info:\n  features:\n" + LABEL + SENTENCE),
    "numbers as keys": (None, "dataset_info:\n  features:\n" + SENTENCE + LABEL.replace("'", "")),
    "a list": (None, "dataset_info:\n  features:\n" + SENTENCE
               + "  - name: label\n    dtype:\n      class_label:\n        names: [red, green, blue]\n"),
    "no class names": (None, "dataset_info:\n  features:\n" + SENTENCE + "  - name: label\n    dtype: int64\n"),
    "no features": (None, "dataset_info:\n  dataset_size: 10\n"),
    "nothing": (None, "license: mit\n"),
    "configurations": ("second", "configs:\n- config_name: first\n  data_files: data.parquet\n- config_name: second\n"
                       "  data_files: data.parquet\ndataset_info:\n- config_name: first\n  features:\n" + SENTENCE
                       + LABEL.replace("cat", "eel") + "- config_name: second\n  features:\n" + SENTENCE + LABEL),
    "default": (None, "configs:\n- config_name: a\n  data_files: data.parquet\n- config_name: b\n  default: true\n"
                "  data_files: data.parquet\ndataset_info:\n- config_name: a\n  features:\n" + SENTENCE
                + LABEL.replace("cat", "eel") + "- config_name: b\n  features:\n" + SENTENCE + LABEL),
    "of another configuration": (None, "configs:\n- config_name: a\n  data_files: data.parquet\ndataset_info:\n"
                                 "- config_name: b\n  features:\n" + SENTENCE + LABEL),
    "one in a list": (None, "dataset_info:\n- config_name: default\n  features:\n" + SENTENCE + LABEL),
    "one of any name": (None, "dataset_info:\n- config_name: plain_text\n  features:\n" + SENTENCE + LABEL),
    "a name with a configuration": (None, "dataset_info:\n  config_name: other\n  features:\n" + SENTENCE + LABEL),
}
out = []
for name, (config, yaml) in CASES.items():
    with tempfile.TemporaryDirectory() as folder:
        readme = "---\n" + yaml + "---\n# Data\n"
        (Path(folder) / "README.md").write_text(readme)
        pq.write_table(pa.table({"sentence": ["a", "b", "c"], "label": [2, 0, 1]}), Path(folder) / "data.parquet")
        try:
            data = datasets.load_dataset(folder, config, split="train", cache_dir=folder + "/cache")
            names = getattr(data.features["label"], "names", None)
        except Exception as e:
            names = "error: " + str(e).splitlines()[0][:120]
        print(name, names)
        out.append({"name": name, "config": config, "readme": readme, "names": names})
Path(sys.argv[1]).write_text("[\n" + ",\n".join(json.dumps(case) for case in out) + "\n]\n")
