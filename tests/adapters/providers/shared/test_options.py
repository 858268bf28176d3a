"""The tables of settings: every setting that is not the daemon's own is known to a dialect."""

import msgspec

from parley_daemon.adapters.providers.anthropic import request as anthropic
from parley_daemon.adapters.providers.google import request as google
from parley_daemon.adapters.providers.openai_chat import request as openai_chat
from parley_daemon.adapters.providers.openai_responses import request as openai_responses
from parley_daemon.adapters.providers.shared.options import NOT_IN_TABLES
from parley_daemon.core.records import ModelSettings

TABLES = [
    anthropic.SETTINGS,
    google.SETTINGS,
    openai_responses.SETTINGS,
    openai_chat.COMPATIBLE.settings,
    openai_chat.OPENAI.settings,
]


def test_every_setting_is_in_the_table_of_at_least_one_dialect() -> None:
    known = {name for table in TABLES for name in table}
    settings = {
        field.encode_name: field.name
        for field in msgspec.structs.fields(ModelSettings)
        if field.name not in NOT_IN_TABLES
    }
    missing = sorted(settings.keys() - known)
    assert not missing, f"add these settings to the table in request.py of a dialect: {missing}"
    assert known == settings.keys()
