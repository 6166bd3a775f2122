import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.access import Act
from modelwright.core.errors import BadInputError, ConflictError
from modelwright.core.ledger import moment, next_entry, require_same_act, verify_chain
from modelwright.core.names import NAME_RULE, require_alias_name, require_model_name, suggest
from modelwright.testing.errors import error_code

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=70))
def test_the_rule_of_names_is_the_documented_expression(name):
    fits = re.fullmatch(NAME_RULE.rstrip("$"), name) is not None
    assert error_code(require_model_name, name) == ("" if fits else "register.bad-name")


def test_an_alias_follows_the_rule_but_is_no_number():
    require_alias_name("champion-2")
    with pytest.raises(BadInputError):
        require_alias_name("2")


def test_a_suggestion_names_the_closest_or_what_there_is():
    assert suggest("flight-dealy", ["flight-delay", "iris"]) == "Did you mean 'flight-delay'?"
    assert suggest("zzz", ["b", "a"]) == "There is 'a', 'b'."
    assert suggest("zzz", [f"model-{n}" for n in range(9)]).endswith("and 4 more.")
    assert suggest("zzz", []) == ""


def test_a_moment_is_utc_to_the_microsecond():
    assert moment(0.0) == "1970-01-01T00:00:00.000000Z"
    assert moment(1_763_679_900.25) == "2025-11-20T23:05:00.250000Z"


@given(st.lists(st.dictionaries(st.text("xyz"), json_values, max_size=3), max_size=5))
def test_entries_made_one_after_another_verify_whatever_their_evidence(held):
    entries, head = [], None
    for evidence in held:
        head = next_entry(head, at="now", action="a.b", subject="s", act=Act("ada", "", "k"), evidence=evidence)
        entries.append(head)
    verdict = verify_chain(entries)
    assert (verdict.verified, verdict.entries) == (True, len(held))


def test_evidence_may_hold_numpy_and_figures_that_are_not_finite():
    evidence = {"n": np.int64(3), "x": np.array([1.5, np.nan]), "inf": math.inf, "flag": np.bool_(True)}
    entry = next_entry(None, at="now", action="a.b", subject="s", act=Act("ada"), evidence=evidence)
    assert entry.evidence == {"n": 3, "x": [1.5, None], "inf": "Infinity", "flag": True}


def test_an_idempotency_key_is_part_of_what_the_chain_covers():
    keyed, bare = (
        next_entry(None, at="now", action="a.b", subject="s", act=Act("ada", "", key), evidence=None)
        for key in ("k", "")
    )
    assert keyed.evidence == {"idempotency_key": "k"}
    assert bare.evidence == {}
    assert keyed.hash != bare.hash


def test_a_key_names_one_act():
    first = next_entry(None, at="now", action="a.b", subject="s", act=Act("ada", "", "k"), evidence={"n": 1})
    require_same_act(first, "s", {"n": 1})
    for subject, given_now in (("other", {"n": 1}), ("s", {"n": 2}), ("s", {"m": 1})):
        with pytest.raises(ConflictError) as raised:
            require_same_act(first, subject, given_now)
        assert raised.value.code == "ledger.key-reused"
