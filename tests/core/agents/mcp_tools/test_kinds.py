"""What the hints of a server are worth."""

import pytest

from parley_daemon.core.agents.mcp_tools.kinds import find_kind


@pytest.mark.parametrize(
    ("read_only", "open_world", "trusts_hints", "kind"),
    [
        (True, False, False, "execute"),
        (True, True, False, "execute"),
        (False, False, True, "execute"),
        (True, False, True, "read"),
        (True, True, True, "fetch"),
    ],
)
def test_only_a_trusted_server_has_tools_that_read(
    read_only: bool, open_world: bool, trusts_hints: bool, kind: str
) -> None:
    assert find_kind(read_only=read_only, open_world=open_world, trusts_hints=trusts_hints) == kind
