"""The jailed process that opens one model, converts or asks it, and writes the result into descriptors it was given.

``python -I -m modelwright.adapters.frameworks.converter SCRATCH``; SCRATCH holds ``request.json``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.adapters.frameworks import exchange
from modelwright.adapters.frameworks.confined import hold
from modelwright.adapters.frameworks.families import Asked, family
from modelwright.core.errors import ModelwrightError
from modelwright.core.record_codec import from_json, parse_json
from modelwright.jail import Held, tie_to_parent
from modelwright.ports.framework import Hints


def main(arguments: list[str]) -> int:
    """Convert; 0 when a result (a conversion or an error in words) was written."""
    return convert(Path(arguments[0]), None)


def convert(scratch: Path, held: Held | None) -> int:
    """Convert what ``request.json`` in ``scratch`` asks; ``held`` is the jail where it is closed already."""
    request = from_json(dict[str, Any], parse_json((scratch / "request.json").read_bytes(), "request"), "request")
    tie_to_parent(int(request["parent"]))
    results = {name: int(descriptor) for name, descriptor in request["results"].items()}
    examples, tensors = exchange.read_examples(scratch)
    converter = family(str(request["family"]))
    if held is None:
        converter.import_trusted()
        held = hold(scratch, request, results.values())
    level = _in_words(held)
    asked = Asked(
        name=str(request["name"]),
        path=Path(request["path"]),
        descriptor=int(request["model"]),
        target=str(request["target"]),
        route=str(request["route"]),
        why=str(request["why"]),
        level=level,
        examples=examples,
        hints=Hints(tensors, from_json(dict[str, str], request["options"], "options")),
    )
    try:
        conversion = converter.convert_opened(converter.opened(asked), asked)
        exchange.write_conversion(results, replace(conversion, notes=conversion.notes | {"isolation": level}))
    except ModelwrightError as error:
        exchange.write_error(results, error)
    return 0


def _in_words(held: Held) -> str:
    missing = [f"missing: {', '.join(held.missing)}"] if held.missing else []
    return "; ".join(("own process", held.level, *held.parts, *missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
