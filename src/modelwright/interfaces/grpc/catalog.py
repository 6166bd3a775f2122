"""What is said of the models: metadata, configuration, statistics, and the index of the repository."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from google.protobuf.json_format import ParseDict

from modelwright.core.signature import TensorSpec
from modelwright.interfaces.grpc.messages import message
from modelwright.serve.describe import PLATFORM, configuration, statistics
from modelwright.serve.plane import Plane
from modelwright.serve.repository import no_load, require_unnamed
from modelwright.serve.route import LiveArm


class Catalog:
    """The calls that ask about models; each takes a request and gives the response.

    They raise NotFoundError ``serve.unknown-model`` and ``serve.unknown-version``.
    """

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def arm(self, model: str, version: str) -> LiveArm:
        """A version, or the champion where none is named."""
        route = self._plane.route(model)
        return route.pinned(version) if version else route.champion

    def metadata(self, request: Any) -> Any:
        """ModelMetadata."""
        arm = self.arm(request.name, request.version)
        signature = arm.loaded.signature
        tensor = message("ModelMetadataResponse.TensorMetadata")

        def told(specs: Iterable[TensorSpec]) -> list[Any]:
            return [tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]

        return message("ModelMetadataResponse")(
            name=arm.model,
            versions=[request.version] if request.version else list(self._plane.route(arm.model).by_version),
            platform=PLATFORM,
            inputs=told(signature.inputs),
            outputs=told(signature.outputs),
        )

    def config(self, request: Any) -> Any:
        """ModelConfig."""
        arm = self.arm(request.name, request.version)
        told = configuration(self._plane.route(arm.model), arm)
        return ParseDict({"config": told}, message("ModelConfigResponse")())

    def statistics(self, request: Any) -> Any:
        """ModelStatistics of a version, of a model's versions, or of all that is served."""
        told = statistics(self._plane, request.name, request.version)
        return ParseDict({"model_stats": told}, message("ModelStatisticsResponse")())

    def index(self, request: Any) -> Any:
        """Every loaded version, or only those that are ready.

        Raises:
            NotFoundError: ``serve.unknown-repository``.
        """
        require_unnamed(request.repository_name)
        response = message("RepositoryIndexResponse")()
        for model, route in self._plane.routes.items():
            for version in route.by_version:
                reasons = self._plane.unready(model, version)
                if not (reasons and request.ready):
                    state = "UNAVAILABLE" if reasons else "READY"
                    response.models.add(name=model, version=version, state=state, reason=" ".join(reasons))
        return response

    def load(self, request: Any) -> NoReturn:
        """RepositoryModelLoad and RepositoryModelUnload.

        Raises:
            NotFoundError: ``serve.unknown-repository``.
            RefusedError: ``serve.no-load``, always.
        """
        require_unnamed(request.repository_name)
        raise no_load(request.model_name)
