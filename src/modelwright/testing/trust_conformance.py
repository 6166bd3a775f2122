"""The conformance class of ``ports.store.TrustStore``."""

from __future__ import annotations

from dataclasses import replace

from modelwright.core.access import Act
from modelwright.core.trust import TrustedKey
from modelwright.core.version import Arm, Route, SignatureRef
from modelwright.testing.errors import error_code
from modelwright.testing.version_conformance import ACT, Stores

KEY = TrustedKey("a" * 64, "-----BEGIN PUBLIC KEY-----", "ada")


class TrustStoreConformance:
    """Tests of ``ports.store.TrustStore``."""

    def test_a_trusted_key_comes_back_with_who_added_it(self, stores: Stores) -> None:
        """Its models and its end too."""
        key = replace(KEY, models=("churn", "fraud-*"), expires_at=4e9)
        held = stores.trust.trust(key, act=ACT)
        assert stores.trust.keys() == [held]
        assert (held.models, held.expires_at, held.added_by) == (key.models, 4e9, "ada")
        assert held.added_at

    def test_trusting_again_replaces_what_it_is_trusted_for(self, stores: Stores) -> None:
        """One row for a key."""
        stores.trust.trust(KEY, act=ACT)
        stores.trust.trust(replace(KEY, models=("churn",)), act=ACT)
        assert [key.models for key in list(stores.trust.keys())] == [("churn",)]

    def test_a_revoked_key_stays_revoked(self, stores: Stores) -> None:
        """And says when and why."""
        stores.trust.trust(KEY, act=ACT)
        held = stores.trust.revoke("ada", act=Act("bob", "laptop lost"))
        assert held.revoked_at
        assert held.revoked_why == "laptop lost"
        assert stores.trust.revoke(KEY.key_id, act=ACT) == held
        assert error_code(lambda: stores.trust.trust(KEY, act=ACT)) == "keys.revoked"

    def test_a_key_that_nobody_knows_cannot_be_revoked(self, stores: Stores) -> None:
        """By no name and no prefix."""
        stores.trust.trust(KEY, act=ACT)
        for reference in ("bob", "aaaa", "b" * 64):
            assert error_code(lambda given=reference: stores.trust.revoke(given, act=ACT)) == "keys.unknown"

    def test_a_key_without_a_name_or_models_is_refused(self, stores: Stores) -> None:
        """Nothing of it is kept."""
        for bad in (replace(KEY, name=""), replace(KEY, models=())):
            assert error_code(lambda given=bad: stores.trust.trust(given, act=ACT)) == "keys.bad-trust"
        assert list(stores.trust.keys()) == []

    def test_a_signature_is_kept_once(self, stores: Stores) -> None:
        """In the order they came."""
        for bundle in ("1" * 64, "2" * 64, "1" * 64):
            stores.trust.attach("churn", "d" * 64, bundle, key_id=KEY.key_id, act=ACT)
        assert list(stores.trust.bundles("d" * 64)) == ["1" * 64, "2" * 64]
        assert list(stores.trust.bundles("e" * 64)) == []

    def test_the_routing_table_carries_keys_and_the_signatures_of_what_is_deployed(self, stores: Stores) -> None:
        """Gateways never ask the registry."""
        stores.trust.trust(KEY, act=ACT)
        for digest in ("d" * 64, "e" * 64):
            stores.trust.attach("churn", digest, "1" * 64, key_id=KEY.key_id, act=ACT)
        route = Route("churn", (Arm("1", "d" * 64, 1.0, "champion"),), signed=("champion",))
        stores.routes.set_route(route, act=ACT)
        table = stores.routes.table()
        assert table.routes["churn"] == route
        assert [key.key_id for key in table.trusted] == [KEY.key_id]
        assert table.signatures == (SignatureRef("d" * 64, "1" * 64),)

    def test_every_change_of_trust_counts_and_is_on_record(self, stores: Stores) -> None:
        """A gateway must hear of it."""
        epochs = [stores.routes.table().epoch]
        stores.trust.trust(KEY, act=ACT)
        epochs.append(stores.routes.table().epoch)
        stores.trust.attach("churn", "d" * 64, "1" * 64, key_id=KEY.key_id, act=ACT)
        epochs.append(stores.routes.table().epoch)
        stores.trust.revoke("ada", act=ACT)
        epochs.append(stores.routes.table().epoch)
        assert epochs == sorted(set(epochs))
        told = [entry.action for entry in stores.ledger.entries()]
        assert told == ["sign.trust-key", "sign.attach", "sign.revoke-key"]
