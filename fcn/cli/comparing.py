"""The variants of ``fcn compare``: one configuration for each combination of the values that are compared."""

import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fcn.cli.reading import read
from fcn.cli.saved import check_plain, literal, resume, saved_settings
from fcn.cli.tree import built, store_schemas, to_object
from fcn.cli.words import WrongCallError, leaves, parse, quoted, word_of_path
from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.core.names import first_line, shown
from fcn.core.registry import KINDS, find, list_parts
from fcn.core.settings import settings_of
from fcn.tools.compare.settings import NOT_COMPARED, UPSAMPLERS, CompareConfig, Comparison, choices_of, folder_name
from fcn.tools.schema import Recipe, loss_schema
from fcn.tools.settings import AugmentConfig

FILES = ("data.root", "model.weights", "backbone.weights")  # paths, or words that are none
MOST = 100  # variants


def comparison(words: list[str]) -> Comparison:
    """The comparison that the words of a call ask for. Raises WrongCallError."""
    _, overrides = read("compare", words)
    for override in overrides:
        if override.key_or_group in NOT_COMPARED and isinstance(override.value(), list) and not is_a_list(override.key_or_group):
            raise WrongCallError(f"{override.input_line}: {override.key_or_group} cannot be compared; give one value, for all trainings")
    compared = {override.key_or_group: spelled_values(override) for override in overrides if is_compared(override)}
    fixed = [override.input_line for override in overrides if not is_compared(override)]
    if not compared:
        given_one = next((override.input_line for override in overrides if override.key_or_group == "upsample"), None)
        if given_one:
            raise WrongCallError(
                f"{given_one} is one up-sampler, and nothing is compared; give two or more values, as upsample=[bilinear,carafe]"
            )
        compared = {"upsample": list(UPSAMPLERS)}
    check_compared(compared)
    shared = [absolute(word) for word in fixed]
    variants = made(compared, shared)
    first = next(iter(variants.values()))
    kept = [word for word in shared if word.partition("=")[0] not in NOT_COMPARED]
    if first.quick:
        kept = [*(word for word in first.quick_words if not word.startswith("seeds=")), *kept]
    return whole(first, compared, variants, kept)


def whole(settings: CompareConfig, compared: dict[str, list[str]], variants: dict[str, CompareConfig], words: list[str]) -> Comparison:
    """The comparison of these. Raises WrongCallError for a baseline or a cell that it does not have."""
    try:
        return Comparison(settings, compared, variants, words)
    except UserError as error:
        raise WrongCallError(str(error)) from error


def is_compared(override: Any) -> bool:
    """Whether a setting, which is none of the comparison's own, has a list of values where it takes one, or lists where it takes a list."""
    value = override.value()
    if not isinstance(value, list) or override.key_or_group in NOT_COMPARED:
        return False
    return override.key_or_group in KINDS or not is_a_list(override.key_or_group) or any(isinstance(item, list) for item in value)


def is_a_list(key: str) -> bool:
    """Whether a setting takes a list, in some part that has it."""
    kind, _, name = key.rpartition(".")
    if kind == "augment":
        known = settings_of(AugmentConfig)
    elif kind == "data.recipe":
        known = settings_of(Recipe)
    elif kind == "loss":
        known = loss_schema().SETTINGS
    elif kind in KINDS:
        known = tuple(setting for part in list_parts(kind) for setting in find(kind, part).settings)
    else:
        known = settings_of(CompareConfig)
    return any(setting.listed for setting in known if setting.name == name)


def spelled_values(override: Any) -> list[str]:
    from hydra.core.override_parser.types import Transformer

    return [Transformer.str(value) if isinstance(value, list) or value is None else str(plain(value)) for value in override.value()]


def plain(value: Any) -> Any:
    """A value as it is written on the command line, without quotes."""
    (leaf,) = leaves([value])
    return str(leaf).lower() if isinstance(leaf, bool) else leaf


def check_compared(compared: dict[str, list[str]]) -> None:
    count = 1
    for key, values in compared.items():
        written = f"{key}=[{','.join(values)}]"
        if len(values) < 2:
            raise WrongCallError(
                f"{written} is one value; give two or more to compare, or write {key}={','.join(values) or '...'} for all variants"
            )
        if len(set(values)) < len(values):
            raise WrongCallError(f"{written} gives a value twice; give each once")
        if key == "data":
            raise WrongCallError(
                f"{written} cannot be compared: scores on different images say nothing of each other; "
                f"start a comparison on each, as -m data={','.join(values)}"
            )
        count *= len(values)
    if count > MOST:
        raise WrongCallError(f"{' '.join(compared)} have {count} combinations; a comparison takes up to {MOST}")


def made(compared: dict[str, list[str]], shared: list[str], *, but: Any = ()) -> dict[str, CompareConfig]:
    """The settings of each variant, by its name. shared: the words for all of them. but: names that are left out."""
    found = {}
    for name, choice in choices_of(compared).items():
        if name in but:
            continue
        words = [word for word in shared if has_it(choice, word)]
        words += [word_of_path(f"{key}={value}") for key, value in choice.items()]
        store_schemas("compare", parse([word for word in words if word.partition("=")[0] in default_parts("compare")]))
        try:
            found[name] = built("compare", words)
        except WrongCallError as error:
            raise WrongCallError(f"{error} (in the variant {name})") from error
    return found


def has_it(choice: dict[str, str], word: str) -> bool:
    """Whether a setting belongs to this variant: that of a part which is compared belongs to the words that have it."""
    part, dot, name = word.partition("=")[0].partition(".")
    return not dot or part not in choice or any(setting.name == name for setting in find(part, choice[part]).settings)


def absolute(word: str) -> str:
    """A word of a call, a relative path in it made absolute: a comparison goes on from other folders as well."""
    key, _, _ = word.partition("=")
    if key not in FILES:
        return word
    value = parse([word])[0].value()
    text = str(plain(value)) if value is not None else None
    if text is None or (key != "data.root" and text in ("imagenet", "torchvision")):
        return word
    return f"{key}={quoted(os.path.abspath(os.path.expanduser(text)))}"


def resume_comparison(folder: Path, overrides: list[Any]) -> Comparison:
    """The comparison in a folder, for going on with it, with more seeds or values where they are given. Raises WrongCallError."""
    more = {override.key_or_group: spelled_values(override) for override in overrides if is_compared(override)}
    rest = [override for override in overrides if not is_compared(override)]
    base: CompareConfig = resume("compare", folder, rest)
    compared, words = read_compared(folder / "compared.yaml")
    seeds = to_object(saved_settings("compare", folder, folder / "config.yaml")).seeds
    need_all("seeds", [str(seed) for seed in seeds], [str(seed) for seed in base.seeds])
    for key, values in more.items():
        if key not in compared:
            raise WrongCallError(f"this comparison compares {', '.join(compared)}; {key} cannot be added to it, begin a new one")
        need_all(key, compared[key], values)
    begun = choices_of(compared)
    longer = {key: [*values, *(value for value in more.get(key, []) if value not in values)] for key, values in compared.items()}
    check_compared(longer)
    found = whole(base, longer, {}, words)
    wanted = list(found.choices) if base.cell is None else found.trainings[found.training_of(base.cell)[0]]
    names = [*NOT_COMPARED, *(["gradient_checkpointing"] if "gradient_checkpointing" not in compared else [])]
    of_machine = {name: getattr(base, name) for name in names}
    for name in wanted:
        if name in begun:
            file = folder / "variants" / f"{folder_name(name, begun)}.yaml"
            if not file.is_file():
                raise WrongCallError(f"{file} is missing: the settings of the variant {name}; begin a new comparison")
            found.variants[name] = replace(to_object(saved_settings("compare", folder, file)), **of_machine)
    if base.cell is None:
        added = {name: replace(variant, **of_machine) for name, variant in made(longer, words, but=begun).items()}
        for name, variant in added.items():
            need_same(base, variant, name, compared)
        found.variants = {name: found.variants.get(name) or added[name] for name in wanted}
    return found


def need_same(begun: CompareConfig, added: CompareConfig, name: str, compared: Iterable[str]) -> None:
    """Raises WrongCallError where a variant that is added differs from the others in more than what is compared, as after a change of a
    default."""

    def plain_settings(settings: CompareConfig) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in asdict(settings).items():
            flat |= {f"{key}.{each}": one for each, one in value.items()} if isinstance(value, dict) else {key: value}
        return {key: value for key, value in flat.items() if key not in compared and key.partition(".")[0] not in compared}

    before, now = plain_settings(begun), plain_settings(added)
    changed = [f"{key}={now.get(key)} (there: {before.get(key)})" for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        raise WrongCallError(f"the variant {name} cannot be added: it would also have {', '.join(changed)}; begin a new comparison")


def need_all(key: str, begun: list[str], given: list[str]) -> None:
    """Raises WrongCallError where values are missing with which a comparison began."""
    lacking = [value for value in begun if value not in given]
    if lacking:
        every = ",".join([*begun, *(value for value in given if value not in begun)])
        raise WrongCallError(
            f"{key} leaves out {', '.join(lacking)}, with which this comparison began; it can be added to, as {key}=[{every}]"
        )


def read_compared(file: Path) -> tuple[dict[str, list[str]], list[str]]:
    """What is compared, and the words for all variants. Raises WrongCallError, naming the file, for content that no comparison wrote."""
    from yaml import YAMLError, safe_load

    try:
        text = file.read_text(encoding="utf-8")
        check_plain(text)
        saved = literal(safe_load(text))
        compared, words = saved["compared"], saved["words"]
        strings = [*words, *compared, *(value for values in compared.values() for value in values)]
        if set(saved) != {"compared", "words"} or not compared or not all(isinstance(each, str) for each in strings):
            raise UserError("it does not hold what is compared")
        return {str(key): list(values) for key, values in compared.items()}, list(words)
    except OSError as error:
        raise WrongCallError(
            f"{file} cannot be read ({error.strerror or error}): it says what is compared; begin a new comparison"
        ) from error
    except (YAMLError, AttributeError, TypeError, ValueError, RecursionError, KeyError) as error:
        raise WrongCallError(f"{file} is damaged, or of another version of fcn: {shown(first_line(error))}") from error
