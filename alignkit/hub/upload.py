"""Uploading a finished export to the Hub; nothing on disk is changed, whatever happens."""

import logging
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .run_facts import EXPORT_FILE


logger = logging.getLogger(__name__)

DEFAULT_ENDPOINT = "https://huggingface.co"


class PushError(RuntimeError):
    """The Hub could not be reached or failed; the export is intact and the message holds the command to try again."""


@dataclass(frozen=True)
class PushResult:
    """Where the folder went: the repository's full name, its address, and the commit."""

    repo_id: str
    url: str
    commit: str


def check_repo_id(repo_id: str) -> None:
    """Raise `InputError` if `repo_id` cannot be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"--push {repo_id!r} is not a repository name like 'user/name' ({error}).") from error


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    commit_message: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    attempts: int = 3,
    wait_seconds: float = 2.0,
) -> PushResult:
    """Create `repo_id` if it is not there and upload every file of an exported folder to it.

    Server errors and broken connections are tried again (`attempts` times in all, waiting 1, 2, 4 ... times
    `wait_seconds`); files that have already arrived are not sent twice.

    Args:
        folder: made by `export_adapter`.
        private: make a new repository private; an existing one keeps its visibility.
        token: the Hub token; by default the one of the environment (`HF_TOKEN`) or of `hf auth login`.
        endpoint: the Hub's address; by default the `HF_ENDPOINT` of the environment, else huggingface.co.

    Raises:
        InputError: no token, a token that is refused, a bad repository name, offline mode, not an export.
        PushError: the Hub could not be reached or kept failing.
    """
    from huggingface_hub import HfApi, get_token, is_offline_mode

    folder = Path(folder)
    if not (folder / EXPORT_FILE).is_file():
        raise InputError(
            f"{folder} is not an exported folder (it has no {EXPORT_FILE}); make one with `alignkit export`."
        )
    check_repo_id(repo_id)
    again = _retry_command(folder, repo_id, private)
    if is_offline_mode():
        raise InputError(
            f"HF_HUB_OFFLINE is set, so nothing is pushed. The export in {folder} is complete; unset it and run: {again}"
        )
    token = token or get_token()
    if not token:
        raise InputError(
            "there is no Hub token: run `hf auth login`, or set HF_TOKEN to a token with write access from "
            f"https://huggingface.co/settings/tokens. The export in {folder} is complete; then run: {again}"
        )
    api = HfApi(endpoint=endpoint or os.environ.get("HF_ENDPOINT") or None, token=token, library_name="alignkit")
    message = commit_message or f"Upload {folder.name} with alignkit"

    for attempt in range(1, attempts + 1):
        try:
            repo = api.create_repo(repo_id, private=private or None, exist_ok=True)
            commit = api.upload_folder(repo_id=repo.repo_id, folder_path=folder, commit_message=message)
            return PushResult(repo.repo_id, str(repo), commit.oid)
        except Exception as error:
            status = _status(error)
            if status is not None and status < 500 and status not in (408, 429):
                raise InputError(_refusal(status, error, repo_id, folder, again)) from error
            if status is None and not _is_network_failure(error):
                raise
            reason = f"the Hub answered {status}" if status is not None else f"the connection failed ({_cause(error)})"
            if attempt == attempts:
                raise PushError(
                    f"pushing to {repo_id} did not succeed in {attempts} attempts: {reason}. The export in {folder} is "
                    f"complete and nothing is lost; to try again, run: {again}"
                ) from error
            delay = wait_seconds * 2 ** (attempt - 1)
            logger.warning("push to %s: %s; trying again in %g s (%d/%d)", repo_id, reason, delay, attempt, attempts)
            time.sleep(delay)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _retry_command(folder: Path, repo_id: str, private: bool) -> str:
    return f"alignkit export {shlex.quote(str(folder))} --push {repo_id}" + (" --private" if private else "")


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error (the uploader wraps it), if the Hub answered at all."""
    from huggingface_hub.errors import HfHubHTTPError

    for item in _chain(error):
        if isinstance(item, HfHubHTTPError) and item.response is not None:
            return item.response.status_code
    return None


def _is_network_failure(error: BaseException) -> bool:
    # The HTTP library of huggingface_hub has changed twice; its transport errors are told by their module.
    return any(
        isinstance(item, ConnectionError | TimeoutError)
        or type(item).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
        for item in _chain(error)
    )


def _refusal(status: int, error: Exception, repo_id: str, folder: Path, again: str) -> str:
    if status == 401:
        reason = "the Hub does not accept the token; log in again with `hf auth login` or set HF_TOKEN"
    elif status == 403:
        reason = f"the token may not write to {repo_id}; use one with write access, or a name of your own"
    else:
        first = str(error).strip().split("\n")[0]
        reason = f"the Hub refused it with status {status} ({first})"
    return f"{reason}. The export in {folder} is complete; then run: {again}"


def _cause(error: BaseException) -> str:
    """Return the deepest cause that says anything."""
    return next(
        (str(item) or type(item).__name__ for item in reversed(_chain(error)) if str(item)), type(error).__name__
    )
