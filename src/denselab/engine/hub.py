"""Model folders on the Hugging Face hub. The connection is used only here, and only for an id the user wrote."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from denselab.errors import CheckpointError, ResourceError
from denselab.paths import no_such_path

PREFIX = "hf://"
TORCHVISION = "torchvision:"  # the other names that are no folders
ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_torchvision(name: str) -> bool:
    """Whether a model's name refers to torchvision's weights (torchvision_weights)."""
    return name.startswith(TORCHVISION)


def is_hub_id(name: str) -> bool:
    """Whether a name is a hub id: "hf://owner/name", or "owner/name" if neither that folder nor "owner" exists here."""
    if name.startswith(PREFIX):
        return True
    return bool(ID.fullmatch(name)) and not Path(name).exists() and not Path(name).parent.exists()


def download_model(
    name: str,
    files: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """The local cache folder of a hub id, with only `files` in it.

    Raises CheckpointError with the reason, or NoSuchPath where the name could also be a path.
    """
    from huggingface_hub import snapshot_download  # imported here: starting without the hub saves a second

    try:
        folder = snapshot_download(
            name.removeprefix(PREFIX),
            allow_patterns=list(files),
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
    except (
        Exception
    ) as error:  # the client raises errors of several unrelated libraries, all of which mean that there is no model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if not name.startswith(PREFIX):
            wanted = f"a model or run folder, or an id that the hub knows (it could not be fetched: {reason})"
            raise no_such_path(Path(name), wanted) from error
        raise CheckpointError(f"{name} could not be fetched from the hub: {reason}; check the id") from error
    return Path(folder)


def upload_model(save: Callable[[Path], Path], repo_id: str, private: bool, token: str | bool | None) -> str:
    """Save into a temporary folder and upload it; returns the repository's URL. Raises ResourceError."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save(Path(scratch) / "model")
        try:
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload model with DenseLab")
        except Exception as error:  # as above
            raise ResourceError(
                f"{repo_id} could not be uploaded to the hub: {error}; check the id and your login"
            ) from error
    return str(address)
