"""The choice of one series: by number, UID or description, or by itself where only one is a volume."""

from __future__ import annotations

from fnmatch import fnmatch
from itertools import groupby

from medinr.errors import FileError
from medinr.io.dicom.series import Listing, Series

#: Stacks of one series that are listed one by one.
_MOST_ALIKE = 12


def choose_series(listing: Listing, wanted: int | str | None, notes: list[str] | None = None) -> Series:
    """Return the only series, the only volume among localisers and pictures, or the one that is asked for.

    Parameters
    ----------
    listing : Listing
    wanted : int or str, optional
        Number from 1; SeriesInstanceUID; or text with ``*`` and ``?`` that fits the description or what distinguishes
        the stack ("t2*tra", "echo time 80"), whatever its case.
    notes : list of str, optional
        What was left aside is added.

    Raises
    ------
    FileError
        When a choice is needed, or nothing or several fit; the message lists what there is.
    """
    if wanted is not None:
        return _wanted(listing, wanted)
    if len(listing.series) == 1:
        return listing.series[0]
    volumes = [series for series in listing.series if series.kind == "volume"]
    doubtful = [series for series in listing.series if series.kind in ("single slice", "no regular stack")]
    if len(volumes) == 1 and not doubtful:
        if notes is not None:
            kinds = ", ".join(series.kind for series in listing.series if series is not volumes[0])
            notes.append(f"series {volumes[0].number} was taken, the only volume; left aside: {kinds}")
        return volumes[0]
    count = len(listing.series)
    raise FileError(f"{listing.path}: there are {count} series, choose with --series N.\n{_found(listing)}")


def _wanted(listing: Listing, wanted: int | str) -> Series:
    text = str(wanted).strip()
    if text.isdigit() and 1 <= int(text) <= len(listing.series):
        return listing.series[int(text) - 1]
    fitting = [series for series in listing.series if _fits(series, text)]
    if len(fitting) == 1:
        return fitting[0]
    asked = f"series {text} was asked for"
    several = f"{asked}, and {len(fitting)} fit: " if fitting else f"{asked}; "
    named = ", ".join(str(series.number) for series in fitting)
    raise FileError(
        f"{listing.path}: {several}{named}{'; ' if named else ''}there are {len(listing.series)} series, choose with "
        f"--series N.\n{_found(listing)}"
    )


def _fits(series: Series, text: str) -> bool:
    header = series.frames[0].header
    if text == header.series:
        return True
    pattern = f"*{text.lower()}*"
    described = f"{header.description}, {series.variant}"
    return any(fnmatch(part.lower(), pattern) for part in (header.description, series.variant, described) if part)


def _found(listing: Listing) -> str:
    """One line a stack; of many stacks of one series (time points, directions), the first and the last."""
    lines = []
    for _, group in groupby(listing.series, key=lambda series: (series.frames[0].header.series, series.kind)):
        stacks = list(group)
        named = [f"{series.number}: {series.words}" for series in stacks]
        if len(stacks) > _MOST_ALIKE:
            named[1:-1] = [f"... {len(stacks) - 2} more of this series ..."]
        lines += named
    return "\n".join([*lines, *listing.notes])
