"""Reaches Amazon Bedrock: its region, the credentials, and its two services.

Models answer at `bedrock-runtime.REGION.amazonaws.com`. The control plane, `bedrock.REGION.amazonaws.com`,
lists them. Both accept a bearer token (an API key for Bedrock), or requests signed with AWS credentials.
Source: https://docs.aws.amazon.com/general/latest/gr/bedrock.html
"""

import configparser
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from parley_daemon.adapters.providers.bedrock.dialect import BedrockMessages
from parley_daemon.adapters.providers.bedrock.model_list import bedrock_models
from parley_daemon.adapters.providers.bedrock.signing import AwsSigner
from parley_daemon.adapters.providers.http.json_client import NotFoundError
from parley_daemon.adapters.providers.provider_type import Access, bearer_headers, make_http_model
from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import Model, ModelError


def make_model(access: Access) -> Model:
    """Return the model of a provider on Bedrock.

    Raises:
        ValueError: botocore is not installed, there is no region, or the region is not a valid name.
    """
    if find_spec("botocore") is None:
        raise ValueError(
            'the Python package botocore is not installed; install it with: pip install "parleyd[bedrock]"'
        )
    region = find_region(access.options, access.environment)
    if region is None and not (access.base_url and access.api_key):
        raise ValueError(
            "no AWS region is set; set region in its configuration, or AWS_REGION for the daemon"
        )
    url = access.base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
    return make_http_model(
        replace(access, base_url=url), BedrockMessages(access.name, url, _signer(access, region))
    )


async def list_models(access: Access, fetch: Fetch) -> Sequence[ListedModel]:
    """Return the models that the control plane of the region lists.

    Raises:
        ModelError: the list cannot be fetched.
        NotFoundError: the control plane's address is not known, or the account may not list models. (An
            account may call models without the permission to list them.)
    """
    try:
        await make_model(access).aclose()  # raises an error that says what is missing
        region = find_region(access.options, access.environment)
    except ValueError as error:
        message = f'Provider "{access.name}" cannot be used: {error}.'
        raise ModelError(Failure("invalid_request", message, provider=access.name)) from None
    url = access.environment.get("AWS_ENDPOINT_URL_BEDROCK", "").strip().rstrip("/")
    if not url and (access.base_url or region is None):
        raise NotFoundError("with a base_url, the address of the control plane is not known")
    signer = _signer(access, region)

    async def headers(url: str) -> Mapping[str, str]:
        if signer is None:
            return bearer_headers(access)
        return {**await signer.headers(url, None), **access.headers}

    try:
        return await bedrock_models(url or f"https://bedrock.{region}.amazonaws.com", headers, fetch)
    except ModelError as error:
        if error.failure.status_code == 403:
            raise NotFoundError(str(error)) from error
        raise


def find_region(options: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """Return the region of the provider's settings, of the environment, or of AWS' own configuration file.

    Raises:
        ValueError: it is not the name of a region.
    """
    region = (
        options.get("region")
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or _read_profile_region(options, environment)
    )
    if region and not re.fullmatch(r"[a-z0-9-]+", region):
        raise ValueError(f'"{region}" is not an AWS region; a region is written like "us-east-1"')
    return region or None


def _signer(access: Access, region: str | None) -> AwsSigner | None:
    if region is None or access.api_key is not None:
        return None
    return AwsSigner(access.name, region, access.options.get("profile"))


def _read_profile_region(options: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    profile = (
        options.get("profile")
        or environment.get("AWS_PROFILE")
        or environment.get("AWS_DEFAULT_PROFILE")
        or "default"
    )
    path = environment.get("AWS_CONFIG_FILE") or "~/.aws/config"
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(Path(path).expanduser(), "utf-8-sig")
    except (configparser.Error, OSError, UnicodeDecodeError, RuntimeError):
        return None  # botocore reports what is wrong with the file when it looks for credentials
    sections = ([profile] if profile == "default" else []) + [f"profile {profile}"]
    return next((found for name in sections if (found := parser.get(name, "region", fallback=None))), None)
