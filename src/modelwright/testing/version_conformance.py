"""The registry's stores as conformance classes take them, and the class of ``ports.store.VersionStore``."""

from __future__ import annotations

import threading
from typing import Protocol

from modelwright.core.access import Act
from modelwright.core.version import Lineage
from modelwright.ports.store import FindingStore, Ledger, RouteStore, TokenStore, TrustStore, VersionStore
from modelwright.testing.errors import error_code

ACT = Act("ada", "because")
DIGEST = "ab" * 32
OTHER = "cd" * 32


class Stores(Protocol):
    """What the fixture ``stores`` gives: six ports over one ledger, all empty."""

    @property
    def versions(self) -> VersionStore:
        """Versions and aliases."""
        ...

    @property
    def routes(self) -> RouteStore:
        """What is deployed."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The acts."""
        ...

    @property
    def tokens(self) -> TokenStore:
        """Who may."""
        ...

    @property
    def findings(self) -> FindingStore:
        """What watching said."""
        ...

    @property
    def trust(self) -> TrustStore:
        """Who signs."""
        ...


def register(stores: Stores, model: str = "flight", digest: str = DIGEST, act: Act = ACT) -> str:
    """A version with nothing special; its number."""
    return stores.versions.register(model, digest, lineage=Lineage("data"), verdict={"passed": True}, act=act).number


def actions(stores: Stores) -> list[str]:
    """Every action in the ledger, in order."""
    return [entry.action for entry in stores.ledger.entries()]


class VersionStoreConformance:
    """Tests of ``ports.store.VersionStore``."""

    def test_versions_are_numbered_per_model_from_one(self, stores: Stores) -> None:
        """And listed oldest first."""
        assert [register(stores), register(stores, digest=OTHER), register(stores, "other")] == ["1", "2", "1"]
        assert [version.number for version in stores.versions.versions("flight")] == ["1", "2"]
        assert list(stores.versions.models()) == ["flight", "other"]

    def test_a_version_keeps_all_that_it_was_registered_with(self, stores: Stores) -> None:
        """Lineage, verdict, who and why."""
        lineage = Lineage("data", "code", "environment", "1", "order-7")
        verdict = {"passed": True, "metrics": [{"name": "auc", "value": 0.8}], "nothing": None}
        made = stores.versions.register("flight", DIGEST, lineage=lineage, verdict=verdict, act=ACT)
        assert stores.versions.version("flight", "1") == made
        assert (made.digest, made.lineage, made.verdict) == (DIGEST, lineage, verdict)
        assert (made.created_by, made.reason) == ("ada", "because")

    def test_more_than_nine_versions_stay_in_order(self, stores: Stores) -> None:
        """Numbers are numbers, not text."""
        for count in range(1, 13):
            assert register(stores) == str(count)
        assert [version.number for version in stores.versions.versions("flight")][-1] == "12"

    def test_registering_again_under_the_same_key_gives_the_same_version(self, stores: Stores) -> None:
        """And writes nothing."""
        act = Act("ada", "because", "key-1")
        assert register(stores, act=act) == register(stores, act=act) == "1"
        assert actions(stores) == ["register.add"]
        assert register(stores, act=Act("ada", "because", "key-2")) == "2"

    def test_a_key_is_not_good_for_another_package(self, stores: Stores) -> None:
        """Nor for another model."""
        act = Act("ada", "because", "key-1")
        register(stores, act=act)
        assert error_code(register, stores, "flight", OTHER, act) == "ledger.key-reused"
        assert error_code(register, stores, "other", DIGEST, act) == "ledger.key-reused"

    def test_a_name_outside_the_rule_is_refused(self, stores: Stores) -> None:
        """Before anything is written."""
        for name in ("", "Flight", "-x", "a/b", "..", "a b", "x" * 64, "flight\n", "übung"):
            assert error_code(register, stores, name) == "register.bad-name"
        assert actions(stores) == []

    def test_a_version_is_found_by_number_alias_and_digest(self, stores: Stores) -> None:
        """A digest prefix needs eight characters."""
        register(stores)
        register(stores, digest=OTHER)
        stores.versions.set_alias("flight", "champion", "2", act=ACT)
        found = [stores.versions.version("flight", name).number for name in ("1", "champion", "abababab", OTHER)]
        assert found == ["1", "2", "1", "2"]
        assert error_code(stores.versions.version, "flight", "ababab") == "register.unknown-version"

    def test_a_prefix_of_several_packages_is_ambiguous(self, stores: Stores) -> None:
        """But the same package twice means its newest version."""
        register(stores)
        register(stores)
        assert stores.versions.version("flight", DIGEST[:8]).number == "2"
        register(stores, digest=DIGEST[:20] + OTHER[:44])
        assert error_code(stores.versions.version, "flight", DIGEST[:8]) == "register.ambiguous-version"

    def test_an_unknown_name_suggests_a_known_one(self, stores: Stores) -> None:
        """For models, versions and aliases."""
        register(stores, "flight-delay")
        assert error_code(stores.versions.versions, "flight-dealy") == "register.unknown-model"
        assert error_code(stores.versions.version, "flight-dealy", "1") == "register.unknown-model"
        assert error_code(stores.versions.version, "flight-delay", "2") == "register.unknown-version"
        assert error_code(stores.versions.set_alias, "flight-delay", "a", "2", act=ACT) == "register.unknown-version"
        assert error_code(stores.versions.set_alias, "nothing", "a", "1", act=ACT) == "register.unknown-model"
        assert error_code(stores.versions.set_alias, "flight-delay", "a", "", act=ACT) == "register.unknown-alias"

    def test_an_alias_moves_and_every_move_is_kept(self, stores: Stores) -> None:
        """Who, when, why, from where to where; also its removal."""
        register(stores)
        register(stores)
        for number in ("1", "2", ""):
            stores.versions.set_alias("flight", "champion", number, act=ACT)
        stores.versions.set_alias("flight", "shadow", "1", act=ACT)
        moves = [(move.alias, move.from_version, move.to_version) for move in stores.versions.alias_history("flight")]
        assert moves == [("champion", "", "1"), ("champion", "1", "2"), ("champion", "2", ""), ("shadow", "", "1")]
        assert {(move.by, move.why) for move in stores.versions.alias_history("flight")} == {("ada", "because")}
        assert stores.versions.aliases("flight") == {"shadow": "1"}
        assert stores.versions.alias("flight", "champion") == ""
        assert stores.versions.alias("nothing", "champion") == ""

    def test_an_alias_moves_only_from_where_it_is_expected(self, stores: Stores) -> None:
        """An empty expectation means that it must not exist."""
        register(stores)
        register(stores)
        move = stores.versions.set_alias
        assert error_code(move, "flight", "champion", "1", act=ACT, expected="2") == "register.alias-moved"
        assert error_code(move, "flight", "champion", "1", act=ACT, expected="") == ""
        assert error_code(move, "flight", "champion", "2", act=ACT, expected="") == "register.alias-moved"
        assert error_code(move, "flight", "champion", "2", act=ACT, expected="1") == ""
        assert stores.versions.alias("flight", "champion") == "2"

    def test_moving_again_under_the_same_key_gives_the_first_move(self, stores: Stores) -> None:
        """Even after the alias moved on."""
        register(stores)
        register(stores)
        act = Act("ada", "because", "move-1")
        first = stores.versions.set_alias("flight", "champion", "1", act=act, expected="")
        stores.versions.set_alias("flight", "champion", "2", act=ACT)
        assert stores.versions.set_alias("flight", "champion", "1", act=act, expected="") == first
        assert stores.versions.alias("flight", "champion") == "2"
        assert error_code(stores.versions.set_alias, "flight", "shadow", "1", act=act) == "ledger.key-reused"

    def test_an_alias_is_never_a_number(self, stores: Stores) -> None:
        """It would read as a version."""
        register(stores)
        for alias in ("1", "", "Champion", "a/b"):
            assert error_code(stores.versions.set_alias, "flight", alias, "1", act=ACT) == "register.bad-alias"

    def test_of_two_moves_at_the_same_time_one_wins(self, stores: Stores) -> None:
        """The other learns that the alias moved."""
        register(stores)
        register(stores)
        start, codes = threading.Barrier(2), list[str]()

        def move(number: str) -> None:
            start.wait()
            codes.append(error_code(stores.versions.set_alias, "flight", "champion", number, act=ACT, expected=""))

        threads = [threading.Thread(target=move, args=(number,)) for number in ("1", "2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == ["", "register.alias-moved"]
        assert len(stores.versions.alias_history("flight")) == 1

    def test_each_change_has_one_entry_naming_it(self, stores: Stores) -> None:
        """With the figures that identify the change as evidence."""
        register(stores)
        stores.versions.set_alias("flight", "champion", "1", act=ACT)
        added, moved = stores.ledger.entries(subject="flight")
        assert (added.action, added.evidence["version"], added.evidence["digest"]) == ("register.add", "1", DIGEST)
        assert moved.action == "register.move-alias"
        assert moved.evidence == {"alias": "champion", "from_version": "", "to_version": "1"}
