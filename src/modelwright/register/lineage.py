"""Where a version came from, read from its package and its verdict."""

from __future__ import annotations

from modelwright.core.package import Package
from modelwright.core.package_codec import ENVIRONMENT
from modelwright.core.verdict import Verdict
from modelwright.core.version import Lineage


def lineage_of(package: Package, verdict: Verdict, *, parent_version: str = "", order: str = "") -> Lineage:
    """The digests a package carries, and what it renews.

    Args:
        package: the package; its environment's digest is that of its lock file, empty when it has none.
        verdict: its check; names the data when the package does not.
        parent_version: number of the version it is meant to replace.
        order: key of the order to renew it was trained for.
    """
    lock = package.manifest.files.get(ENVIRONMENT)
    return Lineage(
        data_digest=package.description.data_digest or verdict.data_digest,
        code_revision=package.description.code_revision,
        environment_digest=lock.sha256 if lock else "",
        parent_version=parent_version,
        order=order,
    )
