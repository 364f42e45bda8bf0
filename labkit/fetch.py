"""One file from the model hub, at one commit, whole or not at all.

The hub's names, its cache and the transport are those of `huggingface_hub`: what another program
has fetched is found again, a connection that breaks is taken up where it broke, and a file enters
the cache only when it is whole. The environment variables HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE
are its own as well.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import huggingface_hub

PATIENCE = 5.0  # seconds until a hub that does not answer counts as out of reach


class File(NamedTuple):
    """One file of a repository on the hub."""

    repository: str
    commit: str
    name: str
    bytes: int
    sha256: str

    @property
    def where(self) -> dict[str, str]:
        return {"repo_id": self.repository, "filename": self.name, "revision": self.commit}


def fetch(file: File) -> Path:
    """Where the file lies on this machine; fetched first if it is not there, and then checked
    against its checksum.

    Raises ConnectionError, saying what to do, if it can be neither found nor had; ValueError if
    what lies there, or came, is not that file (it is removed, so that the next call fetches it).
    """
    kept = huggingface_hub.try_to_load_from_cache(**file.where)
    if isinstance(kept, str):
        return checked(Path(kept), file, thoroughly=False)
    try:
        # A look first: a download that finds no network would go on trying for half a minute.
        url = huggingface_hub.hf_hub_url(**file.where)
        huggingface_hub.get_hf_file_metadata(url, timeout=PATIENCE)
        kept = huggingface_hub.hf_hub_download(**file.where)
    except Exception as error:  # of the transport, which has changed between versions
        raise ConnectionError(
            f"{file.repository} is not on this machine and {file.name} cannot be fetched "
            f"({' '.join(str(error).split())[:200] or type(error).__name__}): connect to a network "
            f"and call again, {size(file.bytes)} are needed once"
        ) from None
    return checked(Path(kept), file, thoroughly=True)


def checked(path: Path, file: File, thoroughly: bool) -> Path:
    """`path`, if it has the right size, and, thoroughly, the right checksum."""
    came = path.stat().st_size
    if came != file.bytes:
        wrong = f"has {came:,} bytes instead of {file.bytes:,}"
    elif thoroughly and digest(path) != file.sha256:
        wrong = "has another checksum than it should"
    else:
        return path
    path.resolve().unlink()  # what the cache's link points to
    path.unlink(missing_ok=True)
    raise ValueError(
        f"{file.name} of {file.repository} {wrong}, so it was cut short or changed on the way and "
        "has been removed: call again to fetch it anew"
    )


def digest(path: Path) -> str:
    """The file's SHA-256, in hexadecimal digits."""
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
