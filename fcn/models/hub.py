"""The Hugging Face hub: ``hf://USER/NAME`` as a model, and a model as a repository there.

A repository holds what ``pretrained_folder.py`` writes. Only its ``config.json`` and ``model.safetensors`` are fetched, the weights after
the first has shown that they are of this toolkit. They stay in the cache of ``huggingface_hub``, which also knows who is logged in.
``HF_HUB_OFFLINE=1`` reads from the cache alone.
"""

import re
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.models.card import Scores, renewed
from fcn.models.pretrained_folder import CARD, CONFIG, WEIGHTS, card_text, is_model_folder, located, read_config, read_folder, write_folder
from fcn.models.weight_files import labelled_state

if TYPE_CHECKING:
    from fcn.models.segmenter import Segmenter

SCHEME = "hf://"
_WORD = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([^\s@]+))?")  # pathlib makes one slash of two
LOGIN = "log in with: hf auth login"


def is_hub(path: str | PathLike[str]) -> bool:
    """Whether a checkpoint's path is the word of a model on the hub."""
    return fspath(path).startswith("hf:/")


def is_word(path: str | PathLike[str]) -> bool:
    """Whether a checkpoint is named by a word, of the hub or of the package, and not by a path."""
    return is_hub(path) or located(path) != path


def read_shared(path: str | PathLike[str]) -> dict[str, Any] | None:
    """What a checkpoint would hold of the model in a folder, of ``builtin``, or of ``hf://USER/NAME``, a model on the hub.
    None for the path of anything else."""
    if is_hub(path):
        return read_folder(fetched(path), fspath(path))
    path = located(path)
    return read_folder(path) if is_model_folder(path) else None


def files_of(path: str | PathLike[str]) -> list[Path]:
    """The files of a model: those of a folder, or of the hub in the cache; else the one file that ``path`` names."""
    path = path if is_hub(path) else located(path)
    folder = fetched(path) if is_hub(path) else Path(path)
    return [folder / CONFIG, folder / WEIGHTS] if is_hub(path) or is_model_folder(path) else [folder]


def repository(word: str | PathLike[str]) -> tuple[str, str | None]:
    """USER/NAME and the revision, or None, of ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``. Raises UserError for anything else."""
    found = _WORD.fullmatch(fspath(word))
    if found is None:
        raise UserError(f"{word} names no model on the hub; write hf://USER/NAME, or hf://USER/NAME@REVISION for a branch, tag or commit")
    return found[1], found[2]


def fetched(word: str | PathLike[str]) -> Path:
    """The folder, in the cache, with the model that ``word`` names; it is fetched where it is not there or has changed.

    Raises UserError where there is no such model, OSError where the hub cannot be reached.
    """
    repo, revision = repository(word)
    said = f"{SCHEME}{repo}" + (f"@{revision}" if revision else "")
    config = file_of(repo, CONFIG, revision, said)
    read_config(config, said)
    commit = config.parent.name  # the cache has a folder for each: both files are of one
    weights = file_of(repo, WEIGHTS, commit, said)
    return weights.parent


def file_of(repo: str, name: str, revision: str | None, said: str) -> Path:
    """A file of a repository in the cache. said: word of the model, for messages."""
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(cast(str, hf_hub_download(repo, name, revision=revision)))
    except errors.GatedRepoError as error:
        raise UserError(f"{said} is open to few: ask for access on its page, then {LOGIN}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"there is no {said} on the hub, or it is private; check the name, or {LOGIN}") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{SCHEME}{repo} has no branch, tag or commit {revision}; leave @{revision} out, or give another") from error
    except errors.LocalEntryNotFoundError as error:
        raise unreachable(said, error.__cause__ or error) from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{said} holds no model of fcn: it has no {name}; give one that push_to_hub wrote") from error
    except Exception as error:  # a network raises whatever its client meets
        raise unreachable(said, error) from error


def unreachable(said: str, error: BaseException) -> OSError:
    return OSError(f"{said} cannot be fetched ({first_line(error)}); check the connection and the disk, or give the model as a folder")


def upload(state: dict[str, Any], repo: str, *, scores: Scores, private: bool | None, message: str) -> str:
    """Write a model into a repository, in one commit; its address. The repository is made where it is missing. Text of the user's on its
    card stays."""
    from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

    with TemporaryDirectory() as made:
        folder = Path(made)
        write_folder(state, folder, scores=scores, name=repo)
        api = HfApi()
        try:
            address = str(api.create_repo(repo, private=private, exist_ok=True))
            if api.file_exists(repo, CONFIG):
                read_config(Path(cast(str, hf_hub_download(repo, CONFIG))), f"{SCHEME}{repo}")
            elif api.file_exists(repo, WEIGHTS):
                raise UserError(f"{SCHEME}{repo} holds a {WEIGHTS} of another library; give a repository that is new")
            if api.file_exists(repo, CARD):
                old = card_text(Path(cast(str, hf_hub_download(repo, CARD))), f"the card of {SCHEME}{repo}")
                new = (folder / CARD).read_text(encoding="utf-8")
                (folder / CARD).write_text(renewed(old, new, f"the card of {SCHEME}{repo}"), encoding="utf-8")
            files = [CommitOperationAdd(name, folder / name) for name in (WEIGHTS, CONFIG, CARD)]
            api.create_commit(repo, files, commit_message=message)
        except UserError:
            raise
        except Exception as error:  # a network raises whatever its client meets
            raise refused(f"{SCHEME}{repo}", error) from error
        return address


def refused(said: str, error: BaseException) -> UserError | OSError:
    """What the hub answered to a write, as a sentence."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError":
        return UserError(f"the hub does not let you write {said}; {LOGIN}, with a token that may write, and check the name of the user")
    return OSError(f"{said} cannot be written ({first_line(error)}); check the connection and try again")


class HubMixin:
    """What a model has for sharing it."""

    def save_pretrained(self, folder: str | PathLike[str], *, scores: Scores = None) -> None:
        """Write the model as a folder: ``model.safetensors``, ``config.json`` and a card. ``fcn.load(folder)`` reads it.

        folder: folder to write to; it is made. A model in it is replaced; text of yours on its card stays.
        scores: scores for the card: what ``fcn.evaluate`` returned, or the path of a ``metrics.json``; default None.

        Raises UserError for a model without classes, for scores of other classes, and where the folder holds a model of another library;
        OSError where it cannot be written.
        """
        write_folder(labelled_state(cast("Segmenter", self)), folder, scores=scores)

    def push_to_hub(self, name: str, *, scores: Scores = None, private: bool | None = None, message: str = "A model of fcn-toolkit") -> str:
        """Write the model to the Hugging Face hub. ``fcn.load("hf://USER/NAME")`` reads it.

        name: repository, as "USER/NAME"; it is made where it is missing.
        scores: scores for the card, as in ``save_pretrained``; default None.
        private: whether a new repository is private; None: as the user's or organization's settings say.
        message: message of the commit.

        Returns the address of the repository. Raises UserError where the hub refuses, OSError where it cannot be reached.
        """
        repo, revision = repository(name if is_hub(name) else f"{SCHEME}{name}")
        if revision is not None:
            raise UserError(f"{name} names a revision; a model is written to the main branch: give USER/NAME")
        return upload(labelled_state(cast("Segmenter", self)), repo, scores=scores, private=private, message=message)
