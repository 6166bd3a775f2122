"""What is said of the models: metadata, configuration, statistics, and the index of the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.json_format import ParseDict

from modelwright.core.signature import TensorSpec
from modelwright.interfaces.grpc.messages import message
from modelwright.serve.describe import configuration, platform_of, statistics
from modelwright.serve.plane import Plane
from modelwright.serve.repository import Changed, Repository
from modelwright.serve.route import LiveArm


class Catalog:
    """The calls that ask about models; each takes a request and gives the response.

    They raise NotFoundError ``serve.unknown-model`` and ``serve.unknown-version``.
    """

    def __init__(self, plane: Plane, repository: Repository, stopping: Callable[[], bool]) -> None:
        self._plane, self._repository, self._stopping = plane, repository, stopping

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
            platform=platform_of(arm.loaded),
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
        """Every version with its state, or only those that are ready.

        Raises:
            NotFoundError: ``serve.unknown-repository``.
        """
        response = message("RepositoryIndexResponse")()
        for entry in self._repository.index(request.repository_name, stopping=self._stopping()):
            if entry.state == "READY" or not request.ready:
                response.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return response

    def load(self, request: Any, done: Changed) -> None:
        """RepositoryModelLoad: of a folder; raises as :meth:`Repository.change`."""
        self._repository.change(request.repository_name, request.model_name, load=True, done=done)

    def unload(self, request: Any, done: Changed) -> None:
        """RepositoryModelUnload: of a folder; raises as :meth:`Repository.change`."""
        self._repository.change(request.repository_name, request.model_name, load=False, done=done)
