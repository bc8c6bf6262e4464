"""Contrast of an MR scan, by words of its name or description, else by its timing."""

from __future__ import annotations

import re

from medinr.volume import ScanFacts


def _word(pattern: str) -> re.Pattern[str]:
    # Names join words by underscores, which count as letters in \b.
    return re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9*])")


#: Words and the contrast they mean; the first that fits. Pulse sequences stand for the contrast they are used for.
_WORDS = (
    (_word(r"adc|apparent|adcmap"), "ADC"),
    (_word(r"\w*flair\w*|dark[-_ ]?fluid"), "FLAIR"),
    (_word(r"dwi|dti|diff\w*|trace\w*|tracew|b\d{3,4}"), "DWI"),
    (_word(r"swi|swan|venobold"), "SWI"),
    (_word(r"t2\*w?|t2[-_ ]?star\w*|hemo|t2s"), "T2*"),
    (_word(r"stir"), "STIR"),
    (_word(r"tof\w*|angio\w*|mra"), "TOF"),
    (_word(r"bold|fmri"), "BOLD"),
    (_word(r"t1w?|t1[-_ ]?[a-z]\w*|mprage|mp2rage|unit1|spgr|fspgr|bravo|tfl3d\w*|inplanet1"), "T1"),
    (_word(r"t2w?|t2[-_ ]?[a-z]\w*|inplanet2"), "T2"),
    (_word(r"pdw?|proton\w*"), "PD"),
)

#: Words that mean contrast agent.
_AGENT = re.compile(r"(?<![a-z0-9])(?:gd|gad\w*|ce|t1ce|t1c|t1gd|post|km|kontrast)(?![a-z0-9])|\+ ?(?:c|gd|km)\b")

#: Echo times (ms) of heavily T2-weighted scans, and of scans without T2 weighting.
_LONG_ECHO, _SHORT_ECHO = 60.0, 20.0

#: Repetition times (ms) of spin echoes with and without T1 weighting.
_SHORT_REPETITION, _LONG_REPETITION = 1000.0, 2000.0

#: Inversion times (ms) at which fluid is dark.
_DARK_FLUID = 1500.0


def contrast_of(words: str, facts: ScanFacts, agent: bool = False) -> str:
    """Name the contrast of an MR scan; empty when neither words nor timing tell it.

    Parameters
    ----------
    words : str
        Description of the series, or name of the file.
    facts : ScanFacts
    agent : bool
        Whether the header names a contrast agent.

    Returns
    -------
    str
        Such as ``"T1"``, ``"T1c"`` (with contrast agent), ``"T2"``, ``"FLAIR"``, ``"DWI"``.

    Examples
    --------
    >>> contrast_of("t2_tirm_tra_dark-fluid_3mm", ScanFacts())
    'FLAIR'
    >>> contrast_of("", ScanFacts(echo_time=12.0, repetition_time=550.0))
    'T1'
    """
    text = words.lower()
    found = next((name for pattern, name in _WORDS if pattern.search(text)), "") or _by_timing(facts)
    if found in ("T2", "DWI") and facts.b_value:
        found = "DWI"
    return "T1c" if found == "T1" and (agent or _AGENT.search(text)) else found


def _by_timing(facts: ScanFacts) -> str:
    echo, repetition, inversion = facts.echo_time, facts.repetition_time, facts.inversion_time
    if facts.b_value:
        return "DWI"
    if echo is None or repetition is None:
        return ""
    if inversion and inversion >= _DARK_FLUID and echo >= _LONG_ECHO:
        return "FLAIR"
    if echo >= _LONG_ECHO and repetition >= _LONG_REPETITION:
        return "T2"
    if echo <= _SHORT_ECHO and repetition <= _SHORT_REPETITION:
        return "T1"
    return "PD" if echo <= _SHORT_ECHO and repetition >= _LONG_REPETITION and not inversion else ""
