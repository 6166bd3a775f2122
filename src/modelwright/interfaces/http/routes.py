"""Every route of the data plane with the permission it needs: what is not in this table does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from modelwright.core.errors import BadInputError, NotFoundError
from modelwright.interfaces.http import endpoints, generate, repository
from modelwright.interfaces.http.dialects import azure, cloudevents, mlflow, sagemaker, seldon
from modelwright.interfaces.http.route import HttpRoute

ROUTES: tuple[HttpRoute, ...] = (
    HttpRoute(b"GET", "/v2/health/live", None, endpoints.live),
    HttpRoute(b"GET", "/v2/health/ready", None, endpoints.ready),
    HttpRoute(b"GET", "/v2/models/{model}/ready", None, endpoints.model_ready),
    HttpRoute(b"GET", "/v2/models/{model}/versions/{version}/ready", None, endpoints.model_ready),
    HttpRoute(b"GET", "/v2", "predict", endpoints.server_metadata),
    HttpRoute(b"GET", "/v2/models/stats", "predict", endpoints.model_statistics),
    HttpRoute(b"GET", "/v2/models/{model}", "predict", endpoints.model_metadata),
    HttpRoute(b"GET", "/v2/models/{model}/versions/{version}", "predict", endpoints.model_metadata),
    HttpRoute(b"GET", "/v2/models/{model}/config", "predict", endpoints.model_configuration),
    HttpRoute(b"GET", "/v2/models/{model}/versions/{version}/config", "predict", endpoints.model_configuration),
    HttpRoute(b"GET", "/v2/models/{model}/stats", "predict", endpoints.model_statistics),
    HttpRoute(b"GET", "/v2/models/{model}/versions/{version}/stats", "predict", endpoints.model_statistics),
    HttpRoute(b"POST", "/v2/models/{model}/infer", "predict", endpoints.predict, timed=True, long=True),
    HttpRoute(
        b"POST", "/v2/models/{model}/versions/{version}/infer", "predict", endpoints.predict, timed=True, long=True
    ),
    HttpRoute(b"GET", "/", None, endpoints.alive),
    HttpRoute(b"GET", "/v1/models", "predict", endpoints.model_list),
    HttpRoute(b"GET", "/v1/models/{model}", "predict", endpoints.model_ready),
    HttpRoute(b"POST", "/v1/models/{model}:predict", "predict", endpoints.predict_instances, timed=True),
    HttpRoute(
        b"POST", "/v1/models/{model}/versions/{version}:predict", "predict", endpoints.predict_instances, timed=True
    ),
    HttpRoute(b"POST", "/v2/models/{model}/generate_stream", "predict", generate.generate_stream, timed=True),
    HttpRoute(
        b"POST",
        "/v2/models/{model}/versions/{version}/generate_stream",
        "predict",
        generate.generate_stream,
        timed=True,
    ),
    HttpRoute(b"POST", "/v2/repository/index", "read", repository.index),
    HttpRoute(b"POST", "/v2/repository/{repository}/index", "read", repository.index),
    HttpRoute(b"POST", "/v2/repository/models/{model}/load", "deploy", repository.load),
    HttpRoute(b"POST", "/v2/repository/models/{model}/unload", "deploy", repository.unload),
    HttpRoute(b"POST", "/v2/repository/{repository}/models/{model}/load", "deploy", repository.load),
    HttpRoute(b"POST", "/v2/repository/{repository}/models/{model}/unload", "deploy", repository.unload),
    HttpRoute(b"GET", "/openapi.json", "predict", endpoints.openapi),
    HttpRoute(b"GET", "/v2/models/{model}/openapi.json", "predict", endpoints.openapi),
    HttpRoute(b"GET", "/v2/models/{model}/versions/{version}/openapi.json", "predict", endpoints.openapi),
    HttpRoute(b"POST", "/record/truth", "truth", endpoints.record_truth, counted=True),
    HttpRoute(b"GET", "/metrics", "metrics", endpoints.metrics),
    *mlflow.ROUTES,
    *sagemaker.ROUTES,
    *azure.ROUTES,
    *seldon.ROUTES,
    *cloudevents.ROUTES,
)

Match = tuple[HttpRoute, Mapping[str, str]]
_CACHED_TARGETS, _CACHED_LENGTH = 4096, 256


class Router:
    """Finds the route of a request; remembers targets it has matched."""

    def __init__(self, routes: tuple[HttpRoute, ...] = ROUTES) -> None:
        self._routes = [(route, route.pattern.strip("/").split("/")) for route in routes]
        self._cache: dict[tuple[bytes, bytes], Match] = {}

    def match(self, method: bytes, target: bytes) -> Match:
        """The route and its parameters; HEAD is answered as GET.

        Raises:
            NotFoundError: ``http.unknown-path``.
            BadInputError: ``http.method-not-allowed``; ``http.bad-target``.
        """
        found = self._cache.get((method, target))
        if found is None:
            found = self._search(b"GET" if method == b"HEAD" else method, target)
            if len(self._cache) < _CACHED_TARGETS and len(target) <= _CACHED_LENGTH:
                self._cache[(method, target)] = found
        return found

    def _search(self, method: bytes, target: bytes) -> Match:
        allowed: list[str] = []
        segments = _segments(target)
        for route, pattern in self._routes:
            parameters = _bind(pattern, segments)
            if parameters is None:
                continue
            if route.method == method:
                return route, parameters
            allowed.append(route.method.decode())
        if allowed:
            raise BadInputError(
                "http.method-not-allowed",
                f"Method {method.decode(errors='replace')[:20]} is not allowed here.",
                fix=f"Use {', '.join(allowed)}.",
                details={"allow": ", ".join(allowed)},
            )
        raise NotFoundError("http.unknown-path", "Not Found")


def _segments(target: bytes) -> list[str]:
    path = target.partition(b"?")[0]
    if not path.startswith(b"/"):
        raise BadInputError("http.bad-target", "The request target is no path.")
    try:
        return [unquote_to_bytes(part).decode() for part in path.strip(b"/").split(b"/")]
    except UnicodeDecodeError as error:
        raise BadInputError("http.bad-target", "The request target is not UTF-8.") from error


def _bind(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    parameters: dict[str, str] = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            name, _, verb = expected[1:].partition("}")
            if not segment.endswith(verb):
                return None
            parameters[name] = segment.removesuffix(verb)
        elif expected != segment:
            return None
    return parameters
