"""`-o name=value`: names and types come from the schema of the settings."""

import json
from pathlib import Path

import pytest

from parley_clients.cli.errors import UsageError
from parley_clients.cli.settings import list_settings, list_values, read_schema, read_settings
from parley_protocol.models.settings import ModelSettings


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["temperature=0.2", "seed=-7"], {"temperature": 0.2, "seed": -7}),
        (["max-output-tokens=5", "TOP_P=1"], {"maxOutputTokens": 5, "topP": 1.0}),
        (["stop=END", "stop=a=b"], {"stop": ["END", "a=b"]}),
        (['stop=["x", "y"]'], {"stop": ["x", "y"]}),
        (["fallbackModels="], {"fallbackModels": []}),
        (["localOnly=yes"], {"localOnly": True}),
        (["timeouts.totalMs=9", "timeouts.idle_ms=8"], {"timeouts": {"totalMs": 9, "idleMs": 8}}),
        (['timeouts={"totalMs": 9}'], {"timeouts": {"totalMs": 9}}),
        (["seed=1", "seed=null"], {"seed": None}),
        (["openai.reasoningEffort=high"], {"providerOptions": {"openai": {"reasoningEffort": "high"}}}),
        (["providerOptions.vercel.user=me"], {"providerOptions": {"vercel": {"user": "me"}}}),
        (["openai.metadata.n=1"], {"providerOptions": {"openai": {"metadata": {"n": "1"}}}}),
        (["openai.logitBias.50256=-100"], {"providerOptions": {"openai": {"logitBias": {"50256": -100.0}}}}),
        (
            ["openai_compat.extraBody.min_p=0.1", "openai_compat.extraBody.a.b=x"],
            {"providerOptions": {"openaiCompat": {"extraBody": {"min_p": 0.1, "a": {"b": "x"}}}}},
        ),
    ],
)
def test_settings_have_the_types_of_the_schema(words: list[str], settings: dict[str, object]) -> None:
    assert read_settings(words) == settings
    ModelSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("temperature", "name=value"),
        ("=1", "name=value"),
        ("temperature=warm", "temperature must be a number from 0 to 2, not 'warm'."),
        ("temperature=2.1", "a number from 0 to 2"),
        ("temperature=nan", "a number from 0 to 2"),
        ("topK=0", "a whole number of at least 1"),
        ("seed=1.5", "a whole number"),
        ("localOnly=maybe", "true or false"),
        ("openai.textVerbosity=loud", "low or medium or high"),
        ("openai.logitBias.5=101", "from -100 to 100"),
        ("outputSchema=[]", "a JSON object"),
        ("google.safetySettings=high", "not JSON"),
        ("temprature=1", "Did you mean temperature?"),
        ("reasoningEffort=low", "Did you mean openai.reasoningEffort or openaiCompat.reasoningEffort?"),
        ("stop.x=1", "There is no setting stop.x."),
        ("nonsense=1", "There is no setting nonsense."),
        ("seed=\udcff", "not UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_that_helps(word: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_settings([word])
    assert complaint in str(refused.value)


def test_a_value_inside_one_that_was_given_as_a_whole_is_refused() -> None:
    with pytest.raises(UsageError):
        read_settings(['openaiCompat.extraBody={"a": 1}', "openaiCompat.extraBody.a.b=1"])


def test_every_setting_is_listed_and_can_be_set() -> None:
    samples = {"a number": "1", "a whole number": "1", "true or false": "true", "a text": "x"}
    listed = list_settings()
    assert {"temperature", "stop", "outputSchema", "timeouts.totalMs"} <= listed.keys()
    for name, what in listed.items():
        kind = next((kind for kind in samples if what.startswith(kind)), None)
        value = samples[kind] if kind else "[]" if "list" in what else "{}"
        value = (list_values(name) or [value])[0]
        settings = read_settings([f"{name}={value}"])
        assert len(settings) == 1, name
        ModelSettings.model_validate(settings)


def test_a_schema_is_read_from_a_file_or_from_the_word(tmp_path: Path) -> None:
    schema = {"type": "object"}
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema), "utf-8")
    assert read_schema(str(file)) == read_schema(json.dumps(schema)) == schema
    for content in ("[]", "{", "\ufeff"):
        file.write_text(content, "utf-8")
        with pytest.raises(UsageError) as refused:
            read_schema(str(file))
        assert str(file) in str(refused.value)
    with pytest.raises(UsageError, match="No such file"):
        read_schema(str(tmp_path / "nowhere"))
