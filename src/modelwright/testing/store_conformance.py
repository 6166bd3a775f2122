"""The conformance class of the ports in ``ports.store``: inherit it, give a fixture ``stores``, inherit the tests."""

from __future__ import annotations

import itertools
import re
import threading

from modelwright.core.access import Act, Actor
from modelwright.core.finding import ColumnReport, Finding, Order, WatchReport, Window
from modelwright.core.version import Arm, Route
from modelwright.testing.errors import error_code
from modelwright.testing.trust_conformance import TrustStoreConformance
from modelwright.testing.version_conformance import ACT, DIGEST, OTHER, Stores, VersionStoreConformance, actions


class RouteStoreConformance:
    """Tests of ``ports.store.RouteStore`` and what it shares with the tokens."""

    def test_nothing_is_deployed_at_first(self, stores: Stores) -> None:
        """Epoch 0."""
        table = stores.routes.table()
        assert (table.epoch, table.routes, table.tokens) == (0, {}, ())
        assert stores.routes.route("flight") is None

    def test_a_route_comes_back_whole(self, stores: Stores) -> None:
        """Arms, weights and shadows."""
        arms = (Arm("2", OTHER, 0.9, "champion"), Arm("3", DIGEST, 0.1, "canary"))
        route = Route("flight", arms, (Arm("1", DIGEST, 0.0, "shadow"),))
        assert stores.routes.set_route(route, act=ACT) == 1
        assert stores.routes.route("flight") == route
        assert stores.routes.table().routes == {"flight": route}

    def test_every_change_of_routes_or_tokens_counts(self, stores: Stores) -> None:
        """A gateway must hear of it."""
        route = Route("flight", (Arm("1", DIGEST, 1.0, "champion"),))
        seen = [stores.routes.table().epoch, stores.routes.set_route(route, act=ACT)]
        stores.tokens.issue("bob", "viewer", act=ACT)
        seen.append(stores.routes.table().epoch)
        seen.append(stores.routes.set_route(route, act=ACT))
        stores.tokens.revoke("bob", act=ACT)
        seen.append(stores.routes.table().epoch)
        assert all(later > earlier for earlier, later in itertools.pairwise(seen))

    def test_setting_again_under_the_same_key_gives_the_first_epoch(self, stores: Stores) -> None:
        """And puts nothing back that changed since."""
        old, new = (Route("flight", (Arm(number, DIGEST, 1.0, "champion"),)) for number in ("1", "2"))
        act = Act("ada", "because", "route-1")
        first = stores.routes.set_route(old, act=act)
        stores.routes.set_route(new, act=ACT)
        assert stores.routes.set_route(old, act=act) == first
        assert stores.routes.route("flight") == new
        assert actions(stores) == ["deploy.set-route", "deploy.set-route"]

    def test_a_change_made_from_an_older_route_is_a_conflict(self, stores: Stores) -> None:
        """Nothing is lost that somebody else set meanwhile."""
        nothing, old, new = (
            Route("flight", arms) for arms in ((), *((Arm(n, DIGEST, 0.9, "champion"),) for n in ("1", "2")))
        )
        stores.routes.set_route(old, act=ACT, expected=nothing)
        assert error_code(lambda: stores.routes.set_route(new, act=ACT, expected=nothing)) == "deploy.route-moved"
        assert stores.routes.route("flight") == old
        assert len(actions(stores)) == 1
        stores.routes.set_route(new, act=ACT, expected=old)
        assert stores.routes.route("flight") == new


class LedgerConformance:
    """Tests of ``ports.store.Ledger``."""

    def test_an_empty_ledger_verifies(self, stores: Stores) -> None:
        """With no entries."""
        verdict = stores.ledger.verify()
        assert (verdict.verified, verdict.entries) == (True, 0)

    def test_entries_form_a_chain(self, stores: Stores) -> None:
        """Each is linked to the one before."""
        made = [stores.ledger.append("watch.look", f"model-{n}", act=ACT, evidence={"n": n}) for n in range(5)]
        assert list(stores.ledger.entries()) == made
        assert [entry.sequence for entry in made] == [1, 2, 3, 4, 5]
        assert all(later.previous == earlier.hash for earlier, later in itertools.pairwise(made))
        verdict = stores.ledger.verify()
        assert (verdict.verified, verdict.entries, verdict.head) == (True, 5, made[-1].hash)

    def test_entries_are_chosen_by_subject_start_and_number(self, stores: Stores) -> None:
        """All three together too."""
        for n in range(6):
            stores.ledger.append("watch.look", "even" if n % 2 == 0 else "odd", act=ACT)
        assert [entry.sequence for entry in stores.ledger.entries(subject="odd")] == [2, 4, 6]
        assert [entry.sequence for entry in stores.ledger.entries(after=4)] == [5, 6]
        assert [entry.sequence for entry in stores.ledger.entries(subject="even", after=1, limit=1)] == [3]
        assert list(stores.ledger.entries(limit=0)) == []

    def test_the_same_key_and_action_give_the_first_entry(self, stores: Stores) -> None:
        """Another action under the same key is another act."""
        act = Act("ada", "because", "key-1")
        first = stores.ledger.append("watch.look", "flight", act=act, evidence={"n": 1})
        assert stores.ledger.append("watch.look", "flight", act=act, evidence={"n": 2}) == first
        stores.ledger.append("watch.alert", "flight", act=act)
        assert actions(stores) == ["watch.look", "watch.alert"]
        assert error_code(stores.ledger.append, "watch.look", "other", act=act) == "ledger.key-reused"

    def test_evidence_comes_back_as_json(self, stores: Stores) -> None:
        """A tuple is a list, a figure that is not a number is null; letters stay letters."""
        evidence = {"shares": (0.5, float("nan")), "nested": {"ü": [1, None, True]}, "text": "\u2028 'quoted' \0"}
        stores.ledger.append("watch.look", "flight", act=ACT, evidence=evidence)
        entry = next(iter(stores.ledger.entries()))
        expected = {"shares": [0.5, None], "nested": {"ü": [1, None, True]}, "text": "\u2028 'quoted' \0"}
        assert entry.evidence == expected
        assert stores.ledger.verify().verified

    def test_threads_that_append_at_the_same_time_leave_one_chain(self, stores: Stores) -> None:
        """Nothing lost, nothing twice."""

        def work(name: str) -> None:
            for n in range(10):
                stores.ledger.append("watch.look", name, act=Act(name, "", f"{name}-{n}"))

        threads = [threading.Thread(target=work, args=(f"thread-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        verdict = stores.ledger.verify()
        assert (verdict.verified, verdict.entries) == (True, 40)
        assert len({entry.evidence["idempotency_key"] for entry in stores.ledger.entries()}) == 40


class TokenStoreConformance:
    """Tests of ``ports.store.TokenStore``."""

    def test_a_token_names_its_subject_and_role(self, stores: Stores) -> None:
        """And nothing else does."""
        token = stores.tokens.issue("bob", "viewer", act=ACT)
        assert re.fullmatch(r"mw_[A-Za-z0-9_-]{43}", token)
        assert stores.tokens.actor(token) == Actor("bob", "viewer")
        for wrong in ("", "mw_", token[:-1], token + "x", token.upper(), "\udcff"):
            assert stores.tokens.actor(wrong) is None

    def test_a_token_is_kept_as_its_hash_only(self, stores: Stores) -> None:
        """Neither grants nor ledger hold the text."""
        token = stores.tokens.issue("bob", "viewer", act=ACT)
        (grant,) = stores.tokens.grants()
        assert (grant.subject, grant.role, grant.expires_at) == ("bob", "viewer", 0.0)
        assert stores.routes.table().tokens == (grant,)
        assert token not in f"{grant} {list(stores.ledger.entries())}"

    def test_revoking_ends_every_token_of_a_subject(self, stores: Stores) -> None:
        """And of nobody else; with none left there is nothing to write."""
        tokens = [stores.tokens.issue("bob", "viewer", act=ACT) for _ in range(2)]
        kept = stores.tokens.issue("eve", "admin", act=ACT)
        assert stores.tokens.revoke("bob", act=ACT) == 2
        assert [stores.tokens.actor(token) for token in tokens] == [None, None]
        assert stores.tokens.actor(kept) == Actor("eve", "admin")
        count = len(actions(stores))
        assert stores.tokens.revoke("bob", act=ACT) == 0
        assert len(actions(stores)) == count

    def test_revoking_again_under_the_same_key_gives_the_first_count(self, stores: Stores) -> None:
        """And spares a token that was issued since."""
        act = Act("ada", "", "revoke-1")
        stores.tokens.issue("bob", "viewer", act=ACT)
        assert stores.tokens.revoke("bob", act=act) == 1
        token = stores.tokens.issue("bob", "viewer", act=ACT)
        assert stores.tokens.revoke("bob", act=act) == 1
        assert stores.tokens.actor(token) is not None

    def test_a_token_with_an_end_is_live_before_it(self, stores: Stores) -> None:
        """Its grant says when it ends."""
        token = stores.tokens.issue("bob", "viewer", act=ACT, ttl_seconds=3600.0)
        assert stores.tokens.actor(token) is not None
        assert stores.tokens.grants()[0].expires_at > 0

    def test_a_bad_grant_is_refused(self, stores: Stores) -> None:
        """Before anything is written."""
        issue = stores.tokens.issue
        assert error_code(issue, "bob", "root", act=ACT) == "tokens.unknown-role"
        assert error_code(issue, "", "viewer", act=ACT) == "tokens.bad-subject"
        for seconds in (-1.0, float("nan"), float("inf"), 1e12):
            assert error_code(issue, "bob", "viewer", act=ACT, ttl_seconds=seconds) == "tokens.bad-ttl"
        assert actions(stores) == []

    def test_a_token_is_never_issued_twice_under_one_key(self, stores: Stores) -> None:
        """Its text cannot be given again."""
        act = Act("ada", "", "issue-1")
        stores.tokens.issue("bob", "viewer", act=act)
        assert error_code(stores.tokens.issue, "bob", "viewer", act=act) == "tokens.already-issued"
        assert len(stores.tokens.grants()) == 1


class FindingStoreConformance:
    """Tests of ``ports.store.FindingStore``."""

    @staticmethod
    def report(says: str = "quiet") -> WatchReport:
        """A report with everything in it."""
        finding = Finding("drift", "dep_delay", "critical", "moved", 0.4, 1e-9, 1e-8, 1, {"bins": [1, 2]})
        column = ColumnReport("dep_delay", "finding", 0.4, 1e-9, 1e-8, 10, 10, "moved", (0.5, 0.5), (0.1, 0.9), ("a",))
        window = Window(1.0, 2.5)
        performance = {"auc": (0.7, 0.6, 0.8)}
        return WatchReport("flight", "1", window, 10, 5, (finding,), (column,), performance, 0.25, says)

    def test_a_report_comes_back_whole(self, stores: Stores) -> None:
        """Findings, columns, performance and window."""
        stores.findings.add_report(self.report(), act=ACT)
        assert list(stores.findings.reports("flight")) == [self.report()]
        assert list(stores.findings.reports("other")) == []

    def test_reports_come_newest_first(self, stores: Stores) -> None:
        """Up to the limit."""
        for n in range(4):
            stores.findings.add_report(self.report(f"look {n}"), act=ACT)
        assert [report.says for report in stores.findings.reports("flight", limit=2)] == ["look 3", "look 2"]

    def test_a_report_has_an_entry_naming_its_findings(self, stores: Stores) -> None:
        """And the same key keeps one report."""
        act = Act("ada", "", "look-1")
        first = stores.findings.add_report(self.report(), act=act)
        assert stores.findings.add_report(self.report(), act=act) == first
        (entry,) = stores.ledger.entries()
        assert entry.action == "watch.report"
        assert entry.evidence["findings"] == [{"kind": "drift", "subject": "dep_delay", "severity": "critical"}]
        assert entry.evidence["window"] == {"since": 1.0, "until": 2.5}

    def test_a_report_that_follows_another_than_the_newest_is_not_kept(self, stores: Stores) -> None:
        """Of two looks that began at the same place one counts; without ``follows`` anything is kept."""
        assert stores.findings.add_report(self.report("first"), act=ACT, follows=0.0)
        assert not stores.findings.add_report(self.report("again"), act=ACT, follows=0.0)
        assert stores.findings.add_report(self.report("next"), act=ACT, follows=self.report().ends)
        assert stores.findings.add_report(self.report("by hand"), act=ACT)
        assert [report.says for report in stores.findings.reports("flight")] == ["by hand", "next", "first"]

    def test_an_order_is_kept_once(self, stores: Stores) -> None:
        """By its own key; the act that placed it may be repeated."""
        order = Order("flight", "finding", "drift", "2013-04-01T00:00:00Z", "flight-2013-04")
        act = Act("ada", "", "step-1")
        assert stores.findings.add_order(order, act=act)
        assert stores.findings.add_order(order, act=act)
        assert not stores.findings.add_order(order, act=ACT)
        assert list(stores.findings.orders("flight")) == [order]
        assert actions(stores) == ["retrain.order"]

    def test_orders_come_newest_first(self, stores: Stores) -> None:
        """Of one model."""
        for month in ("03", "04"):
            stores.findings.add_order(Order("flight", "schedule", "", f"2013-{month}-01", month), act=ACT)
        assert [order.key for order in stores.findings.orders("flight")] == ["04", "03"]
        assert list(stores.findings.orders("other")) == []


class StoreConformance(
    VersionStoreConformance,
    RouteStoreConformance,
    LedgerConformance,
    TokenStoreConformance,
    FindingStoreConformance,
    TrustStoreConformance,
):
    """All six."""
