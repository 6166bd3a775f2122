"""Does a request fit the signature? Every interface gets the same verdict on the same input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.core.errors import BadInputError
from modelwright.core.signature import DATATYPES, Feature, Signature, TensorSpec

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}


def datatype_of(tensor: NDArray[Any]) -> str:
    """The Open Inference Protocol datatype of an array; its NumPy name where the protocol has none."""
    return _NAMES.get(tensor.dtype) or str(tensor.dtype)


class InputCheck:
    """A signature compiled for checking many requests.

    ``batched`` tells whether every input has rows: a variable first dimension.

    Args:
        model: the model's name, for messages.
        signature: what is taken.
    """

    def __init__(self, model: str, signature: Signature) -> None:
        self._model = model
        self._specs = tuple(
            (spec.name, DATATYPES[spec.datatype], len(spec.shape) if _rows_only(spec) else -1, spec.shape[1:], spec)
            for spec in signature.inputs
        )
        self._takes_nan = signature.policy.not_finite == "accept"
        self._features = {feature.name: feature for feature in signature.features}
        self.batched = all(spec.shape and spec.shape[0] == -1 for spec in signature.inputs)
        self._uniform = all(map(_rows_only, signature.inputs))

    def layout(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[tuple[int, ...], ...] | None:
        """What two requests must share to run together: their tensors' shapes but for the rows (None: all share it)."""
        return None if self._uniform else tuple(tensor.shape[1:] for tensor in feeds.values())

    def check(
        self, inputs: Mapping[str, NDArray[Any]], nulls: Mapping[str, NDArray[np.bool_]]
    ) -> tuple[dict[str, NDArray[Any]], int]:
        """The feeds for the runner, and how many rows they hold (1 for a model without a variable first dimension).

        A tensor of shape [n] is taken for a column tensor [-1, 1].

        Raises:
            BadInputError: ``serve.unknown-input``, ``serve.missing-input``, ``serve.wrong-datatype``,
                ``serve.wrong-shape``, ``serve.rows-differ``, ``serve.missing-value``.
        """
        feeds: dict[str, NDArray[Any]] = {}
        rows, batched = -1, self.batched
        for name, dtype, dimensions, tail, spec in self._specs:
            tensor = inputs.get(name)
            if tensor is None:
                raise self._missing(name, inputs)
            if tensor.dtype is not dtype and tensor.dtype != dtype:
                raise self._wrong_datatype(spec, tensor)
            shape = tensor.shape
            if len(shape) != dimensions or shape[1:] != tail:
                tensor = self._fit(spec, tensor)
            if batched and shape[0] != rows:
                if rows >= 0:
                    raise BadInputError(
                        "serve.rows-differ",
                        f"Input {name!r} has {shape[0]} rows where the inputs before it have {rows}.",
                        fix="Give every input the same first dimension.",
                    )
                rows = shape[0]
            feeds[name] = tensor
        if len(inputs) != len(feeds):
            raise self._unknown(inputs)
        if nulls:
            self._settle_nulls(feeds, nulls)
        return feeds, (rows if batched and feeds else 1)

    def _fit(self, spec: TensorSpec, tensor: NDArray[Any]) -> NDArray[Any]:
        """The tensor when its shape matches dimension by dimension; [n] as [n, 1] for a column tensor."""
        if spec.shape == (-1, 1) and tensor.ndim == 1:
            return tensor.reshape(-1, 1)
        if len(spec.shape) == tensor.ndim and all(
            expected in (-1, found) for expected, found in zip(spec.shape, tensor.shape, strict=True)
        ):
            return tensor
        raise BadInputError(
            "serve.wrong-shape",
            f"Input {spec.name!r} of model {self._model!r} has shape {list(tensor.shape)} "
            f"where the model takes {list(spec.shape)}.",
            why="-1 stands for any number." if -1 in spec.shape else "",
            fix="Reshape the tensor.",
        )

    def _missing(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> BadInputError:
        if any(given not in self._known() for given in inputs):
            return self._unknown(inputs)
        return BadInputError(
            "serve.missing-input",
            f"Input {name!r} of model {self._model!r} is missing.",
            fix=f"The model takes {', '.join(self._known())}.",
        )

    def _unknown(self, inputs: Mapping[str, NDArray[Any]]) -> BadInputError:
        extra = next(given for given in inputs if given not in self._known())
        return BadInputError(
            "serve.unknown-input",
            f"Model {self._model!r} has no input {extra[:100]!r}.",
            fix=f"The model takes {', '.join(self._known())}.",
        )

    def _known(self) -> tuple[str, ...]:
        return tuple(spec[0] for spec in self._specs)

    def _wrong_datatype(self, spec: TensorSpec, tensor: NDArray[Any]) -> BadInputError:
        return BadInputError(
            "serve.wrong-datatype",
            f"Input {spec.name!r} of model {self._model!r} is {datatype_of(tensor)} "
            f"where the model takes {spec.datatype}.",
            fix=f"Send it as {spec.datatype}.",
        )

    def _settle_nulls(self, feeds: dict[str, NDArray[Any]], nulls: Mapping[str, NDArray[np.bool_]]) -> None:
        """Missing values: allowed where every feature concerned is nullable; a missing string becomes ``null_as``.

        A missing number is NaN, and judged as NaN is.
        """
        for name, mask in nulls.items():
            tensor, spec = feeds[name], next(s[4] for s in self._specs if s[0] == name)
            features = [self._features.get(feature) for feature in (spec.features or (spec.name,))]
            columns = mask.reshape(len(tensor), -1) if tensor.ndim and len(tensor) else mask.reshape(1, -1)
            for index in range(columns.shape[1]):
                if columns[:, index].any() and not self._may_be_missing(features, index, columns.shape[1], spec):
                    raise BadInputError(
                        "serve.missing-value",
                        f"Input {name!r} of model {self._model!r} has a null where the model takes none.",
                        fix="Give a value.",
                    )
            if spec.datatype == "BYTES":
                filled = tensor.reshape(columns.shape).copy()
                for index, feature in enumerate(features):
                    filled[columns[:, index], index] = "" if feature is None else feature.null_as
                feeds[name] = filled.reshape(tensor.shape)

    def _may_be_missing(self, features: list[Feature | None], index: int, width: int, spec: TensorSpec) -> bool:
        if spec.datatype != "BYTES" and (self._takes_nan or not any(features)):
            return True
        if len(features) != width:
            return False
        feature = features[index]
        if feature is None or not feature.nullable:
            return False
        return spec.datatype != "BYTES" or feature.null_as is not None


def _rows_only(spec: TensorSpec) -> bool:
    """True when the first dimension is variable and no other is: the shape that one comparison can check."""
    return spec.shape[:1] == (-1,) and -1 not in spec.shape[1:]
