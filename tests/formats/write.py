"""Writes the packages of this folder: run once with the code of the release whose format they keep, never again.

``python write.py FOLDER``: tiny packages of each route, as one file and as a directory.
"""

import sys
from pathlib import Path

import numpy as np

import modelwright
from modelwright.features.tabular import table

MODEL = '''"""Twice the sum of two columns."""

import numpy as np


def predict(inputs):
    return {"value": 2.0 * (np.asarray(inputs["a"], float) + np.asarray(inputs["b"], float))}
'''
GRAPH = """nodes:
  one: {package: onnx-1.mw}
  other: {package: other.mw}
  both: {ensemble: [one, other], weights: [1, 3]}
answer: both
"""


def main(folder: Path) -> None:
    """Write them."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 2)).round(3)
    truth = (rows.sum(axis=1) > 0).astype(int)
    columns = table(rows, ["a", "b"])
    for name, model in (
        ("onnx-1", LogisticRegression().fit(rows, truth)),
        ("other", LogisticRegression(C=0.01).fit(rows, truth)),
    ):
        _save(folder, name, modelwright.pack(model, name=name, examples=columns, labels=truth, target="y"))
    (folder / "model.py").write_text(MODEL)
    _save(folder, "native-1", modelwright.pack(folder / "model.py", name="native-1", examples=columns))
    (folder / "both.graph.yaml").write_text(GRAPH)
    _save(folder, "graph-1", modelwright.pack(folder / "both.graph.yaml", name="graph-1", examples=columns))


def _save(folder: Path, name: str, packed: object) -> None:
    packed.save(folder / f"{name}.mw")
    packed.save(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
