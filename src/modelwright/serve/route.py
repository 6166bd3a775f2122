"""Which version answers: pure decisions over the arms that are loaded."""

from __future__ import annotations

import hashlib

from modelwright.core.errors import NotFoundError
from modelwright.core.version import Arm, Role, Route
from modelwright.serve.load import Loaded


class LiveArm:
    """A version with its package loaded, in one role."""

    __slots__ = ("loaded", "model", "role", "version", "weight")

    def __init__(self, model: str, arm: Arm, loaded: Loaded, role: Role | None = None) -> None:
        self.model, self.version, self.weight, self.loaded = model, arm.version, arm.weight, loaded
        self.role: Role = role or arm.role


class LiveRoute:
    """A route with everything loaded.

    A prediction id always meets the same arm: its hash is a point in [0, 1), and canaries take the low end, so that a
    growing canary keeps the ids it already had. ``arms`` are those between which an unnamed version is chosen; an arm
    in the role ``pinned`` is only reached by its version.
    """

    __slots__ = ("arms", "by_version", "champion", "model", "shadows")

    def __init__(self, route: Route, loaded: dict[str, Loaded]) -> None:
        self.model = route.model
        arms = [LiveArm(route.model, arm, loaded[arm.digest]) for arm in route.arms]
        self.shadows = tuple(LiveArm(route.model, arm, loaded[arm.digest], "shadow") for arm in route.shadows)
        self.champion = max(arms, key=lambda arm: (arm.role == "champion", arm.weight))
        chosen = [arm for arm in arms if arm.role != "pinned"]
        self.arms = tuple(sorted(chosen, key=lambda arm: arm.role != "canary"))
        every = (*route.shadows, *route.arms)
        self.by_version = {arm.version: LiveArm(route.model, arm, loaded[arm.digest], "pinned") for arm in every}

    def pick(self, prediction_id: str) -> LiveArm:
        """The arm that answers this prediction."""
        if len(self.arms) == 1:
            return self.champion
        point = hash_point(prediction_id)
        reached = 0.0
        for arm in self.arms:
            reached += arm.weight
            if point < reached:
                return arm
        return self.champion

    def pinned(self, version: str) -> LiveArm:
        """The arm of an explicitly named version.

        Raises:
            NotFoundError: ``serve.unknown-version``.
        """
        arm = self.by_version.get(version)
        if arm is None:
            raise NotFoundError(
                "serve.unknown-version",
                f"Model {self.model!r} has no loaded version {version[:100]!r}.",
                fix=f"Loaded: {', '.join(self.by_version)}.",
            )
        return arm


def hash_point(prediction_id: str) -> float:
    """The id's point in [0, 1): the first 53 bits of its SHA-1 (a spread, not a secret) over 2**53."""
    digest = hashlib.sha1(prediction_id.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    return (int.from_bytes(digest[:8]) >> 11) / 2**53
