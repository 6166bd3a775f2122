from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.access import ROLES, Actor, Permission
from modelwright.core.errors import ForbiddenError
from modelwright.govern.policy import require

PERMISSIONS = get_args(Permission)


@given(st.text().filter(lambda role: role not in ROLES), st.sampled_from(PERMISSIONS))
def test_an_unknown_role_may_do_nothing(role, permission):
    with pytest.raises(ForbiddenError):
        require(Actor("eve", role), permission)


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_an_admin_may_do_everything(permission):
    require(Actor("ann", "admin"), permission)


def test_what_names_no_permission_is_denied_even_to_an_admin():
    with pytest.raises(ForbiddenError):
        require(Actor("ann", "admin"), None)


def test_a_refusal_names_the_permission_and_the_roles_that_would_do():
    with pytest.raises(ForbiddenError) as caught:
        require(Actor("bob", "viewer"), "deploy")
    assert caught.value.code == "govern.forbidden"
    assert caught.value.details == {"permission": "deploy", "role": "viewer", "roles": ["deployer", "admin"]}
    assert "deployer or admin" in caught.value.fix


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("predictor", {"health", "predict", "truth"}),
        ("viewer", {"health", "read", "metrics"}),
        ("deployer", set(PERMISSIONS) - {"admin", "unjail"}),
    ],
)
def test_each_role_may_do_exactly_what_the_docs_say(role, allowed):
    actor = Actor("ann", role)
    assert {permission for permission in PERMISSIONS if actor.may(permission)} == allowed
