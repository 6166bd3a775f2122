"""Who is compared: one entry per server, with the form it is asked in for every workload."""

from dataclasses import dataclass
from pathlib import Path

from serving import forms
from serving.forms import Form

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Server:
    """A server to start. ``backend`` runs the trees; a workload without a form is one it is not asked."""

    name: str
    title: str
    peer: str
    backend: str
    forms: dict[str, Form]
    token: bool = False


def _of_rows(form: Form) -> dict[str, Form]:
    return {"row": form, "batch": form, "tensor": form}


def _modelwright(name: str, title: str, *, token: bool) -> Server:
    asked = forms.v2("trees", "probabilities")
    binary = {"tensor": forms.v2_binary("trees", "probabilities"), "image": forms.v2_binary("image", "scores")}
    return Server(name, title, "", "onnx", {"row": asked, "batch": asked, **binary}, token)


def _both(peer: str, title: str, form: dict[str, Form], image: Form | None = None) -> tuple[Server, Server]:
    """The peer with scikit-learn and the peer with ONNX Runtime; pictures go through the second."""
    with_image = {**form, **({"image": image} if image else {})}
    return (
        Server(f"{peer}-sklearn", f"{title} + scikit-learn", peer, "sklearn", form),
        Server(f"{peer}-onnx", f"{title} + ONNX Runtime", peer, "onnx", with_image),
    )


def _mlserver(backend: str, title: str, output: str) -> Server:
    return Server(f"mlserver-{backend}", title, "mlserver", backend, _of_rows(forms.v2("trees", output)))


def _mlflow(backend: str, title: str, *answered: str) -> Server:
    return Server(
        f"mlflow-{backend}", title, "mlflow", backend, _of_rows(forms.rows("/invocations", "inputs", answered))
    )


_JSON = forms.rows("/predict")
_BINARY = {"row": _JSON, "batch": _JSON, "tensor": forms.raw("/tensor")}

SERVERS: tuple[Server, ...] = (
    _modelwright("modelwright", "modelwright", token=False),
    _modelwright("modelwright-token", "modelwright, token asked for", token=True),
    *_both("fastapi", "FastAPI", _BINARY, forms.raw("/image")),
    _mlserver("sklearn", "MLServer + scikit-learn", "predict_proba"),
    _mlserver("onnx", "MLServer + ONNX Runtime", "probabilities"),
    *_both("bentoml", "BentoML", {**_BINARY, "tensor": forms.raw("/raw/tensor")}, forms.raw("/raw/image")),
    *_both("litserve", "LitServe", _of_rows(_JSON)),
    _mlflow("sklearn", "MLflow + scikit-learn", "predictions"),
    _mlflow("onnx", "MLflow + ONNX Runtime", "predictions", "probabilities"),
    *_both("ray", "Ray Serve", _BINARY, forms.raw("/image")),
)


def chosen(names: str) -> list[Server]:
    """The servers of a comma-separated list; a peer's name stands for both of its servers, "" for all.

    Raises:
        SystemExit: a name that is none of theirs.
    """
    wanted = [name for name in names.split(",") if name]
    known = {word for server in SERVERS for word in (server.name, server.peer or "modelwright")}
    if unknown := sorted(set(wanted) - known):
        raise SystemExit(f"No server is named {', '.join(unknown)}. There are: {', '.join(sorted(known))}.")
    return [s for s in SERVERS if not wanted or s.name in wanted or (s.peer or "modelwright") in wanted]
