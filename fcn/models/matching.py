"""State dicts under other names: a classifier's for a backbone, and one for other classes.

A backbone is a classifier without its last layers. Files hold the classifier's tensors, often behind the names of what held the
network when it was saved (``module.``, ``_orig_mod.``, ``model.``, ``backbone.``). timm joins the names of nested blocks when only the
features are asked for (``stages.0`` becomes ``stages_0``). The tensors are matched by name; what is left over must be the classifier's
last layers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcn.core.errors import UserError

HOLDERS = ("module", "_orig_mod", "model", "net", "network", "backbone", "encoder", "body")  # of a network, in the names of its tensors
CHAIN = "features."  # of torchvision's classifiers; its segmentation networks drop the word
COUNTER = ".num_batches_tracked"  # batch norm's, which old files lack; it changes no answer


@dataclass(frozen=True)
class Match:
    """tensors: those of a file under the backbone's names. prefix: what stood before their names there. left: names of the classifier's
    last layers and of what else the file holds beside the network. foreign: names inside of the backbone that it does not have. missing:
    names that the file lacks, as it would have them."""

    tensors: dict[str, Tensor]
    prefix: str
    left: list[str]
    foreign: list[str]
    missing: list[str]


def match_backbone(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Match:
    """The tensors of ``state`` for a backbone whose tensors are ``own``. Raises UserError where the file holds two such networks."""
    held = shared_holders(own)
    state = in_a_chain(state) if all(name.removeprefix(held).startswith(CHAIN) for name in own) else state
    wanted = {joined(name.removeprefix(held)): name for name in own}
    needed = {key for key in wanted if not key.endswith(joined(COUNTER))}
    found: dict[str, dict[str, str]] = {}  # prefix -> the backbone's name -> the file's
    for prefix in {prefix for name in state for prefix in prefixes(name)}:
        keys = {joined(name.removeprefix(prefix)): name for name in state if name.startswith(prefix)}
        found[prefix] = {key: keys[key] for key in wanted if key in keys}
    whole = [prefix for prefix, keys in found.items() if needed <= keys.keys()]
    if len(whole) > 1:
        raise UserError(f"it holds {len(whole)} such networks, under {' and '.join(sorted(whole))}; save the one that is meant alone")
    prefix = max(sorted(found, key=len), key=lambda prefix: len(found[prefix]))
    taken = found[prefix]
    tensors = {wanted[key]: state[name] for key, name in taken.items()}
    tensors |= {name: own[name] for key, name in wanted.items() if key not in needed and key not in taken}
    rest = [name for name in state if name not in set(taken.values())]
    modules = {re.sub(r"_\d+$", "", joined(name.removeprefix(held).partition(".")[0])) + "_" for name in own}
    foreign = [name for name in rest if name.startswith(prefix) and joined(name.removeprefix(prefix)).startswith(tuple(modules))]
    return Match(
        tensors,
        prefix,
        left=[name for name in rest if name not in set(foreign)],
        foreign=foreign,
        missing=[name.removeprefix(held) for name in own if name not in tensors],
    )


def in_a_chain(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of torchvision's segmentation network, its backbone's with the word that they have in the classifier."""
    return {re.sub(r"^((?:\w+\.)*backbone\.)(?=\d)", rf"\1{CHAIN}", name): value for name, value in state.items()}


def joined(name: str) -> str:
    return name.replace(".", "_")


def prefixes(name: str) -> list[str]:
    """The beginnings of a tensor's name that may be those of a holder, the empty one first."""
    found, parts = [""], name.split(".")
    for part in parts[:-1]:
        if part not in HOLDERS:
            break
        found.append(f"{found[-1]}{part}.")
    return found


def shared_holders(names: Mapping[str, Tensor]) -> str:
    """The longest such beginning that all names have."""
    return max(set.intersection(*(set(prefixes(name)) for name in names)), key=len, default="") if names else ""


def top_modules(names: Sequence[str], prefix: str) -> list[str]:
    """The first parts of names, each once, in their order."""
    return list(dict.fromkeys(name.removeprefix(prefix).partition(".")[0] for name in names))


# --- other classes ---


def class_pairs(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """The classes that two lists both name, as (index in ours, index in theirs).

    Only letters and digits count, so that ``__background__`` is ``background`` and ``Road`` is ``road``; if two names of one list then
    are the same, the names count as they are.
    """
    known = {name: index for index, name in enumerate(plain_names(theirs, ours))}
    return [(index, known[name]) for index, name in enumerate(plain_names(ours, theirs)) if name in known]


def same_classes(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether two lists name the same classes in the same order, as ``class_pairs`` compares them."""
    return plain_names(ours, theirs) == plain_names(theirs, ours)


def plain_names(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names as ``class_pairs`` compares them with ``others``."""
    plain = [["".join(filter(str.isalnum, name.casefold())) or name for name in each] for each in (names, others)]
    return plain[0] if all(len(set(each)) == len(each) for each in plain) else list(names)


def class_axes(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The axes of each tensor that count classes: those that have another size in ``other``, the same network with other classes."""
    return {
        name: [axis for axis in range(value.ndim) if value.shape[axis] != other[name].shape[axis]]
        for name, value in own.items()
        if name in other and value.shape != other[name].shape
    }


def with_classes_of(own: Tensor, theirs: Tensor, axes: Sequence[int], classes: tuple[int, int], pairs: Sequence[tuple[int, int]]) -> Tensor:
    """``own`` with the rows of the classes in ``pairs`` (index here, index there) taken from ``theirs``, along each of ``axes``.

    classes: how many there are here and there; an axis may hold several rows for each, one class after the other. ``own`` as it is where
    the axes do not count the classes so.
    """
    here, there = classes
    units = {axis: own.shape[axis] // here for axis in axes}
    fits = own.ndim == theirs.ndim and all(
        theirs.shape[axis] == units[axis] * there and own.shape[axis] == units[axis] * here
        if axis in units
        else own.shape[axis] == theirs.shape[axis]
        for axis in range(own.ndim)
    )
    if not fits or not pairs:
        return own
    to: list[Tensor] = []
    source: list[Tensor] = []
    for axis in range(own.ndim):
        view = [-1 if other == axis else 1 for other in range(own.ndim)]
        unit = units.get(axis)
        for side, indices in ((0, to), (1, source)):
            every = list(range(own.shape[axis]))
            rows = every if unit is None else [pair[side] * unit + row for pair in pairs for row in range(unit)]
            indices.append(torch.tensor(rows).view(view))
    result = own.clone()
    result[tuple(to)] = theirs[tuple(source)].to(own.dtype)
    return result
