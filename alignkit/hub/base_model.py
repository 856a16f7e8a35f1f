"""Which base model an adapter belongs to: the name to publish, and the place to load it from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .run_facts import BUNDLED_PREFIX, is_hub_name, looks_like_path, without_folder


_CACHED_SNAPSHOT = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{40})")


@dataclass(frozen=True)
class BaseModel:
    """The model that was trained from.

    Attributes:
        name: what the adapter's configuration says; `None` if nothing names it.
        revision: its revision on the Hub, if pinned.
        load_from: folder or Hub name to load it from.
        warning: what a reader of the published adapter will miss, or `None`.
    """

    name: str | None
    revision: str | None
    load_from: str | None
    warning: str | None

    @property
    def hub_name(self) -> str | None:
        """The name, if others can look it up on the Hub."""
        return self.name if self.name is not None and is_hub_name(self.name) else None

    @property
    def is_local(self) -> bool:
        """Whether the name is a place on this machine."""
        return self.name is not None and looks_like_path(self.name)

    @property
    def shown_name(self) -> str | None:
        """The name for readers elsewhere: of a local path, the last part only."""
        return without_folder(self.name) if self.name is not None else None

    @property
    def loadable_name(self) -> str | None:
        """What PEFT shall load: the name, or the folder of a bundled model, which only alignkit knows by its name."""
        return self.load_from if self.is_bundled else self.name

    @property
    def is_bundled(self) -> bool:
        """Whether it is a model that ships with alignkit."""
        return self.name is not None and self.name.startswith(BUNDLED_PREFIX)


def find_base_model(
    *,
    given_name: str | None,
    given_revision: str | None,
    run_name: str | None,
    run_revision: str | None,
    adapter_name: str | None = None,
    adapter_revision: str | None = None,
    resolve: Callable[[str], str] | None = None,
) -> BaseModel:
    """Choose the base's published name, revision and place.

    The name is the one given on the command line, else the one the user trained from, else the adapter's own. A path
    into the Hub's cache is turned back into the name and commit it is a copy of. Weights are loaded from the folder
    the adapter was trained on while that exists.

    Args:
        resolve: turns a name that is not the Hub's (a bundled model) into a folder; returns others unchanged.
    """
    name = given_name or run_name or adapter_name
    if name is None:
        return BaseModel(
            None, None, None, "nothing says which base model this came from; set it with --base_model NAME."
        )
    recorded_revision = next((rev for rev in (run_revision, adapter_revision) if rev and rev != "main"), None)
    same_base = given_name is None or given_name in (run_name, adapter_name)
    revision = given_revision or (recorded_revision if same_base else None)

    published = name
    if cached := _CACHED_SNAPSHOT.search(name):
        published = f"{cached[1]}/{cached[2]}"
        revision = revision or cached[3]

    folders = [path for path in (given_name, adapter_name, run_name) if path and Path(path).expanduser().is_dir()]
    load_from = folders[0] if folders else (resolve(name) if resolve else name)

    warning = None
    if published.startswith(BUNDLED_PREFIX):
        warning = (
            f"the base model {published} ships with alignkit and is not on the Hub: others can load this adapter only "
            "with alignkit installed; publish --merge to be independent of it."
        )
    elif looks_like_path(published):
        warning = (
            f"the base model is the local path {published}, which nobody else has; set the name it has on the Hub with "
            "--base_model NAME (and --base_revision REV), or publish the whole model with --merge."
        )
    return BaseModel(published, revision, load_from, warning)
