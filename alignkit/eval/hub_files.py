"""Single files of data sets on the Hub, for those that `datasets` cannot load."""

from pathlib import Path


def hub_dataset_file(repo: str, filename: str, revision: str | None = None) -> Path | None:
    """A file of a data set's repository, downloaded or from the local cache; None if it cannot be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename, repo_type="dataset", revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None
