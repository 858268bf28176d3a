"""A keyring for the package `keyring` whose keys are in the file that RING names."""

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class Ring(KeyringBackend):
    """See KeyringBackend."""

    priority = 9  # pyright: ignore[reportAssignmentType] - as the package's own backends do

    def _all(self) -> dict[str, str]:
        path = Path(os.environ["RING"])
        return json.loads(path.read_bytes()) if path.exists() else {}

    def get_password(self, service: str, username: str) -> str | None:
        """See KeyringBackend."""
        return self._all().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """See KeyringBackend."""
        kept = {**self._all(), f"{service}/{username}": password}
        Path(os.environ["RING"]).write_text(json.dumps(kept), "utf-8")

    def delete_password(self, service: str, username: str) -> None:
        """See KeyringBackend."""
        kept = self._all()
        del kept[f"{service}/{username}"]
        Path(os.environ["RING"]).write_text(json.dumps(kept), "utf-8")
