"""Splits of persons: every scan of a person, and of those who share a scan with them, is in one split."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medinr.errors import ManifestError
from medinr.io.manifest import SPLITS

#: Splits that are meant when only numbers are given, by how many there are.
_BY_COUNT = {1: SPLITS[:1], 2: ("train", "test"), 3: ("train", "validation", "test"), 4: SPLITS}

#: Fractions add up to 1 to within this.
_SUM_TOLERANCE = 1e-3

DEFAULT_FRACTIONS = "70,15,15"


@dataclass(frozen=True)
class Group:
    """Persons who must be in one split.

    Attributes
    ----------
    subjects : tuple of str
        Mostly one; more where their scans are copies of each other.
    stratum : str
        Persons of one stratum are spread over the splits like all; their modalities.
    """

    subjects: tuple[str, ...]
    stratum: str


def parse_fractions(text: str) -> dict[str, float]:
    """Read ``70,15,15`` (train, validation, test), ``80,20`` (train, test) or ``train=0.7,devtest=0.3``.

    Returns
    -------
    dict of str to float
        By split, adding up to 1.

    Raises
    ------
    ManifestError

    Examples
    --------
    >>> parse_fractions("70,15,15")
    {'train': 0.7, 'validation': 0.15, 'test': 0.15}
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    names = [part.partition("=")[0].strip() for part in parts] if "=" in text else list(_BY_COUNT.get(len(parts), ()))
    try:
        numbers = [float(part.rpartition("=")[2]) for part in parts]
    except ValueError:
        numbers = []
    unknown = [name for name in names if name not in SPLITS]
    if not numbers or len(names) != len(numbers) or unknown or len(set(names)) < len(names):
        raise ManifestError(
            f"split {text!r} is not like 70,15,15 (train, validation, test), 80,20 (train, test) or "
            f"train=0.7,devtest=0.3 with the splits {', '.join(SPLITS)}."
        )
    total = sum(numbers)
    whole = 100.0 if total > 2 else 1.0
    if not all(number >= 0 for number in numbers) or not abs(total / whole - 1) <= _SUM_TOLERANCE:
        raise ManifestError(f"split {text!r}: fractions are 0 or more and add up to 1 or 100; these to {total:g}.")
    return {name: number / total for name, number in zip(names, numbers, strict=True) if number}


def assign_splits(
    groups: Sequence[Group], fractions: Mapping[str, float], seed: int = 0, keep: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Draw the split of every person.

    Persons come in an order that depends on the seed and their pseudonym alone. Each goes to the split that lacks most
    persons, of all and of its stratum, until the number that the fractions ask for is reached.

    Parameters
    ----------
    groups : sequence of Group
        Every person once.
    fractions : mapping of str to float
        Of `parse_fractions`.
    seed : int
    keep : mapping of str to str, optional
        Splits of persons who already have one, and keep it.

    Returns
    -------
    dict of str to str
        Split by subject. No split is empty where there are as many groups as splits.

    Raises
    ------
    ManifestError
        When persons who must be together keep different splits.
    """
    keep = keep or {}
    split_of: dict[str, str] = {}
    all_of: Counter[str] = Counter()
    stratum_of: Counter[tuple[str, str]] = Counter()

    def put(group: Group, split: str) -> None:
        split_of.update(dict.fromkeys(group.subjects, split))
        all_of[split] += len(group.subjects)
        stratum_of[group.stratum, split] += len(group.subjects)

    new: list[Group] = []
    for group in groups:
        kept = sorted({keep[subject] for subject in group.subjects if subject in keep})
        if len(kept) > 1:
            raise ManifestError(
                f"{', '.join(group.subjects)} hold copies of the same scan, and are in {' and '.join(kept)} already. "
                "Draw all splits anew: remove the old manifest, or build under another name."
            )
        if kept:
            put(group, kept[0])
        else:
            new.append(group)
    quota = _quota(sum(len(group.subjects) for group in groups), fractions)
    for group in sorted(new, key=lambda one: _order(seed, one)):
        done, alike = all_of.total() + 1, sum(stratum_of[group.stratum, split] for split in fractions) + 1
        open_splits = [split for split in fractions if all_of[split] < quota[split]] or list(fractions)
        lack = {
            split: fractions[split] * (done + alike) - all_of[split] - stratum_of[group.stratum, split]
            for split in open_splits
        }
        put(group, max(open_splits, key=lambda split: lack[split]))
    return split_of


def groups_of(scans: Iterable[tuple[str, str]], links: Iterable[tuple[str, str]]) -> list[Group]:
    """Group persons by what links them, with the modalities of their scans as stratum.

    Parameters
    ----------
    scans : iterable of (str, str)
        Subject and modality.
    links : iterable of (str, str)
        Subjects who must be in one split.
    """
    modalities: defaultdict[str, set[str]] = defaultdict(set)
    for subject, modality in scans:
        modalities[subject].add(modality)
    return [
        Group(subjects, "+".join(sorted({one for subject in subjects for one in modalities[subject]})))
        for subjects in linked(sorted(modalities), links)
    ]


def linked(subjects: Iterable[str], links: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Join subjects that are linked, directly or through others; the rest stand alone.

    Examples
    --------
    >>> linked("abcd", [("a", "c"), ("c", "d")])
    [('a', 'c', 'd'), ('b',)]
    """
    group_of = {subject: [subject] for subject in subjects}
    for one, other in links:
        if group_of[one] is not group_of[other]:
            group_of[one] += group_of[other]
            group_of.update(dict.fromkeys(group_of[other], group_of[one]))
    unique = {id(group): tuple(sorted(group)) for group in group_of.values()}
    return list(unique.values())


def _order(seed: int, group: Group) -> str:
    return hashlib.sha256(f"{seed}/{group.subjects[0]}".encode()).hexdigest()


def _quota(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Persons per split: the largest remainders are rounded up, and nobody's split is empty where that can be."""
    quota = {split: int(fraction * count + 1e-9) for split, fraction in fractions.items()}
    rest = sorted(fractions, key=lambda split: quota[split] - fractions[split] * count)
    for split in rest[: count - sum(quota.values())]:
        quota[split] += 1
    for split in fractions:
        largest = max(quota, key=lambda one: quota[one])
        if not quota[split] and quota[largest] > 1:
            quota[split] += 1
            quota[largest] -= 1
    return quota
