"""What the process of a model sets up before it opens it."""

from contextlib import closing

import cloudpickle
import numpy as np

from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core import package_codec
from modelwright.core.native import NATIVE_ROUTE, Native
from modelwright.core.package import Description
from modelwright.core.signature import Signature, TensorSpec


def telling():
    """A model whose every answer is 1 where scikit-learn checks no arguments of its functions; pickled by value."""

    class Telling:
        def predict(self, rows):
            import sklearn

            return np.full(len(rows), int(sklearn.get_config()["skip_parameter_validation"]))

    return cloudpickle.dumps(Telling())


def test_scikit_learn_does_not_look_at_the_arguments_of_its_own_functions_again_in_every_run():
    made_by = ("sklearn", "1.9", "model.joblib", NATIVE_ROUTE, "2026-01-01T00:00:00Z", "3.11")
    signature = Signature((TensorSpec("X", "FP64", (-1, 2)),), (TensorSpec("value", "INT64", (-1,)),))
    files = {
        "package.json": package_codec.description_json(Description("telling", *made_by)),
        "signature.json": package_codec.signature_json(signature),
        "native.json": package_codec.native_json(Native("sklearn", "model.joblib", "standard", True)),
        "model.joblib": telling(),
    }
    with closing(ProcessRunners().load(package_codec.assemble("telling", files))) as runner:
        assert runner.run({"X": np.zeros((2, 2))})["value"].tolist() == [1, 1]
