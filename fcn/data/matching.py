"""Which mask belongs to which image: by the same name, or by names that differ by one beginning or end throughout."""

from collections.abc import Iterable
from itertools import takewhile

from fcn.core.errors import UserError
from fcn.data.layouts import Place
from fcn.data.pairs import Files, Pair, files_by_stem, pair_up


def files_of(place: Place) -> tuple[Files, Files]:
    """The images and the masks of a place by name. Masks get the names of their images if one beginning or end tells them apart."""
    images, masks = files_by_stem(place.images, pattern=place.image), files_by_stem(place.masks, pattern=place.mask)
    if place.images == place.masks:
        own = set(masks.values())
        images = Files(images.folder, {name: path for name, path in images.items() if path not in own}, images.passed, images.suffixes)
        masks = Files(masks.folder, masks, (), masks.suffixes)
    if not images:
        more = f"; it holds {images.kinds()}" if images.passed else ""
        raise UserError(f"{place.images} holds no picture of a kind that is read ({', '.join(images.suffixes)}){more}")
    if images.keys().isdisjoint(masks):
        renamed = _renamed(images, masks)
        masks = Files(masks.folder, renamed, masks.passed, masks.suffixes) if renamed else masks
    return images, masks


def _renamed(images: Files, masks: Files) -> dict[str, str] | None:
    """The masks by the names of their images, where the names of each kind have their own beginning and end (img_1, 1_mask); else None."""
    starts = {mask: [name for name in images if mask.startswith(name)] for mask in masks}
    longest = {mask: max(names, key=len) for mask, names in starts.items() if names}
    if len(longest) == len(masks) and len({mask[len(name) :] for mask, name in longest.items()}) == 1:
        return {name: masks[mask] for mask, name in longest.items()}
    cores = _cores(images), _cores(masks)
    if cores[0] is None or cores[1] is None or cores[0].keys() != cores[1].keys():
        return None
    return {cores[0][core]: masks[mask] for core, mask in cores[1].items()}


def _cores(names: Iterable[str]) -> dict[str, str] | None:
    """Names without what all of them begin and end with, up to a separator; None where these are not unique."""
    names = list(names)
    if len(names) < 2:
        return None
    before = _common_start(names)
    before = before[: max(before.rfind(mark) for mark in "_-. /") + 1]
    after = _common_start([name[::-1] for name in names])[::-1]
    places = [place for mark in "_-. " if (place := after.find(mark)) >= 0]
    after = after[min(places) :] if places else ""
    cores = {name[len(before) : len(name) - len(after)]: name for name in names}
    return cores if len(cores) == len(names) else None


def _common_start(names: list[str]) -> str:
    return "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))


def matched(place: Place, images: Files, masks: Files) -> list[Pair]:
    """All pairs of ``images`` and ``masks``, none left over."""
    pairs = pair_up(images, images, masks, source=str(place.images.parent))
    alone = [masks[stem] for stem in masks if stem not in images]
    if alone:
        more = f"; {images.kinds()} in it {'is' if len(images.passed) == 1 else 'are'} not read" if images.passed else ""
        raise FileNotFoundError(
            f"{alone[0]} has no image of its name in {place.images} ({len(alone)} such{more}): add it, or take the map away"
        )
    return pairs
