"""A framework of linear models, and the conformance class of ``ports.framework.Framework``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.errors import BadInputError
from modelwright.core.native import Isolation
from modelwright.core.signature import Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.features.describe import describe
from modelwright.ports.framework import NO_HINTS, Conversion, Framework, Hints, Route
from modelwright.testing.errors import error_code


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear model: one weight per column, in the order of ``columns``."""

    columns: tuple[str, ...]
    values: tuple[float, ...]


class LinearFramework:
    """Implements ``ports.framework.Framework`` for :class:`Weights`; its graph cannot be run: for tests of packing."""

    name = "linear"

    def owns(self, model: object) -> bool:
        """True for :class:`Weights`."""
        return isinstance(model, Weights)

    def convert(
        self,
        model: object | Path,
        examples: Table | None,
        *,
        target: str = "",
        route: Route = "auto",
        isolation: Isolation = "strict",
        hints: Hints = NO_HINTS,
    ) -> Conversion:
        """The weights as a conversion; raises BadInputError (``pack.no-examples``)."""
        assert isinstance(model, Weights)
        hints.require_known(self.name)
        assert (route, isolation) != ("native", "off")
        if examples is None or len(examples) == 0:
            raise BadInputError("pack.no-examples", "There are no examples.", fix="Give examples.")
        matrix = np.stack([examples[name].astype(np.float32) for name in model.columns], axis=1)
        answers = matrix @ np.array(model.values, dtype=np.float32)
        signature = Signature(
            inputs=(TensorSpec("X", "FP32", (-1, len(model.columns)), model.columns),),
            outputs=(TensorSpec("prediction", "FP32", (-1,)),),
            features=tuple(describe(name, [examples[name]]) for name in model.columns),
            task="regression",
            label_output="prediction",
            target=target,
        )
        return Conversion(
            onnx=b"linear",
            signature=signature,
            parity=None,
            inputs={"X": matrix},
            outputs={"prediction": answers},
            framework=self.name,
            framework_version="1",
            model_class="Weights",
        )


class AskedTwice:
    """A framework whose conversions take seconds: the same question is put to it twice, and answered from then on.

    Twice, because a conversion must come out the same again.
    """

    def __init__(self, framework: Framework) -> None:
        self._framework, self.name = framework, framework.name
        self._given: dict[tuple[int, object], list[Conversion]] = {}

    def owns(self, model: object) -> bool:
        """As the framework itself."""
        return self._framework.owns(model)

    def convert(self, model: object | Path, examples: Table, **more: Any) -> Conversion:
        """As the framework itself; of one model only."""
        given = self._given.setdefault((len(examples), more.get("target")), [])
        if len(given) < 2:
            given.append(self._framework.convert(model, examples, **more))
        return given[-1]


class FrameworkConformance:
    """Inherit, give fixtures, and the port's promises are tested.

    Fixtures: ``framework``; ``model`` (a fitted one it owns); ``examples`` (a Table); ``strangers`` (things it must
    not own).
    """

    def test_it_has_a_name_and_owns_its_models_only(
        self, framework: Framework, model: object, strangers: Sequence[object]
    ) -> None:
        """Owning asks nothing of a model but what it is."""
        assert framework.name
        assert framework.owns(model)
        assert not any(framework.owns(stranger) for stranger in strangers)

    def test_answers_and_rows_are_those_of_the_signature(
        self, framework: Framework, model: object, examples: Table
    ) -> None:
        """Names, ranks and numbers of rows."""
        conversion = framework.convert(model, examples, target="t")
        signature = conversion.signature
        assert signature.target == "t"
        assert set(conversion.inputs) == {spec.name for spec in signature.inputs}
        assert set(conversion.outputs) == {spec.name for spec in signature.outputs}
        rows = {len(tensor) for tensor in (*conversion.inputs.values(), *conversion.outputs.values())}
        assert len(rows) == 1
        for spec in (*signature.inputs, *signature.outputs):
            tensor = {**conversion.inputs, **conversion.outputs}[spec.name]
            assert tensor.ndim == len(spec.shape)

    def test_the_same_model_and_rows_give_the_same_graph(
        self, framework: Framework, model: object, examples: Table
    ) -> None:
        """Bytes are identity."""
        first, second = (framework.convert(model, examples) for _ in range(2))
        assert (first.onnx, first.files) == (second.onnx, second.files)
        assert first.signature == second.signature

    def test_features_are_bound_to_inputs(self, framework: Framework, model: object, examples: Table) -> None:
        """Every column an input carries is described."""
        signature = framework.convert(model, examples).signature
        carried = {name for spec in signature.inputs for name in spec.features}
        assert carried == {feature.name for feature in signature.features}

    def test_a_certificate_holds_where_there_is_one(self, framework: Framework, model: object, examples: Table) -> None:
        """What does not hold is refused, not returned; a graph is proven on rows beyond the examples too."""
        conversion = framework.convert(model, examples)
        parity = conversion.parity
        assert parity is None or parity.holds
        if parity is not None and conversion.onnx:
            assert parity.adversarial is not None
            assert parity.adversarial.holds
            assert parity.adversarial.rows > 0

    def test_no_rows_are_no_proof(self, framework: Framework, model: object, examples: Table) -> None:
        """Either no examples are needed, or their absence is an error with the code ``pack.no-examples``."""
        assert error_code(framework.convert, model, examples.take(slice(0, 0))) in {"", "pack.no-examples"}
