"""What the repository extension refuses, over every interface alike."""

from __future__ import annotations

from modelwright.core.errors import NotFoundError, RefusedError


def no_load(model: str) -> RefusedError:
    """The error for loading or unloading a model over a protocol of the data plane."""
    return RefusedError(
        "serve.no-load",
        f"Model {model[:100]!r} is neither loaded nor unloaded over this call.",
        why="The registry decides what is served, and keeps on record who changed it and why.",
        fix="Use `modelwright release`, `promote` or `rollback`.",
    )


def require_unnamed(repository: str) -> None:
    """Check that a request names no repository.

    Raises:
        NotFoundError: ``serve.unknown-repository``.
    """
    if repository:
        raise NotFoundError(
            "serve.unknown-repository",
            f"There is no repository {repository[:100]!r}.",
            fix="Leave the name out: there is one repository, and it has none.",
        )
