"""The data planes of the HTTP tests."""

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("http_conftest", Path(__file__).parent.parent / "http" / "conftest.py")
_http = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_http)
serve, people_package = _http.serve, _http.people_package
