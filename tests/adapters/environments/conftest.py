"""Wheels written by hand, and one of the NumPy that is installed here: an index is not needed."""

import base64
import hashlib
import zipfile
from importlib.metadata import distribution

import pytest


def wheel(folder, name, version, files, tag="py3-none-any"):
    """Write a wheel; returns its path."""
    info = f"{name}-{version}.dist-info"
    about = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    held = {key: text if isinstance(text, bytes) else text.encode() for key, text in files.items()} | about
    record = "".join(
        f"{key},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},{len(content)}\n"
        for key, content in held.items()
    )
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in held.items():
            archive.writestr(key, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


@pytest.fixture
def make_wheel():
    return wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A wheelhouse: NumPy as it is installed here, and ``weather`` 1.0 and 2.0."""
    folder = tmp_path_factory.mktemp("wheels")
    numpy = distribution("numpy")
    files = {
        str(file): file.locate().read_bytes()
        for file in numpy.files
        if file.parts[0] in {"numpy", "numpy.libs"}
        and "tests" not in file.parts
        and file.suffix not in {".pyc", ".pyi"}
    }
    wheel(folder, "numpy", numpy.version, files)
    for version, degrees in (("1.0", 10.0), ("2.0", 20.0)):
        wheel(folder, "weather", version, {"weather.py": f"DEGREES = {degrees}\n"})
    return folder
