"""One file from the model hub, at one commit, whole or not at all.

The hub's names, its cache and the transport are those of `huggingface_hub`: what another program
has fetched is found again, a connection that breaks is taken up where it broke, and a file enters
the cache only when it is whole. The environment variables HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE
are its own as well.
"""

from __future__ import annotations

import errno
import hashlib
import re
import urllib.request
from pathlib import Path
from ssl import SSLError
from typing import NamedTuple

import huggingface_hub
from huggingface_hub import constants

PATIENCE = 5.0  # seconds until a hub that does not answer counts as out of reach
# How a disk or a folder refuses a file, not the network; the words: of errors without a number.
LOCAL = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO,
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
LOCAL_WORDS = "No space left|not enough space|[Qq]uota exceeded|Permission denied|Read-only file"


class File(NamedTuple):
    """One file of a repository on the hub. Of bytes and checksum one may be None, unknown here:
    then the other alone says whether it is that file."""

    repository: str
    commit: str
    name: str
    bytes: int | None
    sha256: str | None

    @property
    def where(self) -> dict[str, str]:
        return {"repo_id": self.repository, "filename": self.name, "revision": self.commit}


def fetch(file: File) -> Path:
    """Where the file lies on this machine, fetched first if it is not there. Each time it is
    compared with its checksum, which takes about a second for 600 MB.

    Raises ConnectionError, saying what to do, if it can be neither found nor had; OSError if there
    is no room or no permission to keep it; ValueError if what lies there, or came, is not that
    file (it is removed, so that the next call fetches it).
    """
    kept = huggingface_hub.try_to_load_from_cache(**file.where)
    if not isinstance(kept, str):
        try:
            # A look first: a download that finds no network would go on trying for half a minute.
            url = huggingface_hub.hf_hub_url(**file.where)
            huggingface_hub.get_hf_file_metadata(url, timeout=PATIENCE)
            kept = huggingface_hub.hf_hub_download(**file.where)
        except Exception as error:  # of the transport, which has changed between versions
            what, folder = f"{file.name} of {file.repository}", Path(constants.HF_HUB_CACHE)
            raise failure(error, what, file.bytes, folder, "HF_HOME") from None
    return checked(Path(kept), file)


def checked(path: Path, file: File) -> Path:
    """`path`, if it has the right size and checksum."""
    came = path.stat().st_size
    if file.bytes is not None and came != file.bytes:
        wrong = f"has {came:,} bytes instead of {file.bytes:,}"
    elif file.sha256 is not None and digest(path) != file.sha256:
        wrong = "has another checksum than it should"
    else:
        return path
    try:
        path.resolve().unlink()  # what the cache's link points to
        path.unlink(missing_ok=True)
        mend = "has been removed: call again to fetch it anew"
    except OSError as error:
        mend = f"cannot be removed ({error}): remove it and call again to fetch it anew"
    raise ValueError(
        f"{file.name} of {file.repository} {wrong}, so it was cut short or changed on the way and "
        + mend
    )


def failure(error: Exception, what: str, need: int | None, folder: Path, setting: str) -> OSError:
    """The error to raise where the transport failed: what happened, and how to mend it.

    what: what was to come; need: its bytes, if known; folder: where it is kept, which the
    environment variable `setting` can change. Raises the error itself if no transport can be to
    blame.
    """
    if isinstance(error, MemoryError | LookupError | TypeError | AttributeError | NameError):
        raise error
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    local = isinstance(error, OSError) and error.errno in LOCAL and not isinstance(error, SSLError)
    if local or re.search(LOCAL_WORDS, reason):
        return OSError(
            f"{what} cannot be kept in {folder} ({reason}): {size(need)} are needed there; make "
            f"room, or set {setting} to a folder on another disk that you may write to"
        )
    status = getattr(getattr(error, "response", error), "status_code", getattr(error, "code", 0))
    proxy = ", check the proxy that HTTPS_PROXY names" if urllib.request.getproxies() else ""
    if "offline mode" in reason:
        mend = "unset HF_HUB_OFFLINE"
    elif "CERTIFICATE" in reason or "SSL" in reason:
        mend = "check the clock, and, behind a firewall, set SSL_CERT_FILE to its certificate"
    elif status in (401, 403):
        mend = f"the server refuses access: check your token{proxy} or use another network"
    elif status == 407:
        mend = "check the name and the password in HTTPS_PROXY"
    elif status == 404:
        mend = "the server does not have it: check its address, if you set one by HF_ENDPOINT"
    elif status == 429 or status >= 500:
        mend = "the server is busy or down: wait a while"
    else:
        mend = f"connect to a network{proxy}"
    return ConnectionError(
        f"{what} is not on this machine and cannot be fetched ({reason}): {mend} and call again, "
        f"{size(need)} are needed once"
    )


def digest(path: Path) -> str:
    """The file's SHA-256, in hexadecimal digits."""
    with open(path, "rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def size(count: int | None) -> str:
    if count is None:
        return "some GB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
